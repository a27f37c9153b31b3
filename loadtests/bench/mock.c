// mock: a very fast stand-in for a vLLM server, so that the gateway in front of it is what gets measured.
//
//   mock --port P [--tokens 64] [--interval-us 5000] [--delay-us 0] [--forgetful]
//     --port         listen on 127.0.0.1:P
//     --tokens       content chunks in a streamed answer
//     --interval-us  pause between two content chunks; 0 sends the whole stream at once
//     --delay-us     pause before any answer (JSON) or before the first chunk (stream); 0 = at once
//     --forgetful    refuse a picture that comes by its uuid alone, as vLLM does when it has let go of what it had made of it
//
// One thread, epoll. Answers POST /v1/chat/completions (JSON, or SSE when the body says "stream": true), and GET
// /v1/models, /health, /version, /metrics and /counter. Unknown body fields (cache_salt, picture uuid, ...) are ignored, so
// `image_url: null` beside a uuid is answered, as vLLM answers while it still has that picture.
// /counter gives {"requests": N, "refused": M}: chat requests answered, and refused by --forgetful; they prove hits and misses.
// A large body is not kept: its first and last 4 KB are, the middle is discarded inside the kernel (MSG_TRUNC).
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MODEL "mock-vl"
#define EDGE 4096  // bytes of a large body kept at either end
static const char TEXT[] = "The image shows a red bicycle leaning against a brick wall next to a green door, "
                           "with soft afternoon light falling from the left side of the frame.";
static const char USAGE[] = "{\"prompt_tokens\":812,\"completion_tokens\":%d,\"total_tokens\":%d}";

enum state { HEAD, SIZED, CHUNKED };
typedef struct conn {
    int fd;
    char *buf;
    size_t len, cap;
    enum state state;
    size_t head_len, body_len, pos;  // pos: how far a chunked body has been walked
    size_t skip;                     // body bytes still to be discarded
    int waiting, streaming, usage, token, closed;
    uint64_t due, id;
    struct conn *next, *prev;        // list of the answers that wait for the timer
} conn;

static int epoll_fd, timer_fd, tokens = 64, forgetful;
static uint64_t interval_ns = 5000000, delay_ns = 0, requests, refused, last_id;
static conn waiting;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void put(conn *c, const char *data, size_t n) {
    // The send buffer is set to 4 MB and an answer is a few KB: a short write means a dead client.
    if (!c->closed && send(c->fd, data, n, MSG_NOSIGNAL) != (ssize_t)n) c->closed = 1;
}

static void put_response(conn *c, const char *status, const char *type, const char *body) {
    char out[4096];
    int n = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", status, type, strlen(body), body);
    put(c, out, n);
}

static void arm(void) {
    uint64_t first = 0;
    for (conn *c = waiting.next; c; c = c->next) if (!first || c->due < first) first = c->due;
    struct itimerspec at = {{0, 0}, {first / 1000000000, first % 1000000000}};  // all zero disarms
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, 0);
}

static void wait_until(conn *c, uint64_t due) {
    c->due = due;
    if (c->waiting) return;
    c->waiting = 1, c->next = waiting.next, c->prev = &waiting;
    if (waiting.next) waiting.next->prev = c;
    waiting.next = c;
}

static void forget(conn *c) {
    if (!c->waiting) return;
    c->prev->next = c->next;
    if (c->next) c->next->prev = c->prev;
    c->waiting = 0;
}

static size_t event(char *out, uint64_t id, const char *choices, const char *usage) {
    char data[1024];
    int n = snprintf(data, sizeof data, "data: {\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                     "\"model\":\"" MODEL "\",\"choices\":[%s]%s%s}\n\n", (unsigned long long)id, choices, *usage ? ",\"usage\":" : "", usage);
    return sprintf(out, "%x\r\n%s\r\n", n, data);
}

static int put_token(conn *c) {  // 1 when the stream is complete
    char out[4096], choice[512], usage[128] = "";
    size_t n = 0;
    if (c->token == 0) n += event(out + n, c->id, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}", "");
    // The token is the moment of sending, as 14 letters a..p (nibbles): letters, so that no masking of digits alters it.
    char stamp[15] = {0};
    uint64_t t = now();
    for (int i = 13; i >= 0; i--, t >>= 4) stamp[i] = 'a' + (t & 15);
    int last = ++c->token == tokens;
    snprintf(choice, sizeof choice, "{\"index\":0,\"delta\":{\"content\":\"tk%s \"},\"logprobs\":null,\"finish_reason\":%s}", stamp, last ? "\"stop\"" : "null");
    n += event(out + n, c->id, choice, "");
    if (last) {
        snprintf(usage, sizeof usage, USAGE, tokens, 812 + tokens);
        if (c->usage) n += event(out + n, c->id, "", usage);
        n += sprintf(out + n, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    }
    put(c, out, n);
    return last;
}

static void put_json(conn *c) {
    char body[1024], usage[128];
    snprintf(usage, sizeof usage, USAGE, 34, 846);
    snprintf(body, sizeof body, "{\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"" MODEL "\",\"choices\":[{\"index\":0,"
             "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":%s}", (unsigned long long)c->id, TEXT, usage);
    put_response(c, "200 OK", "application/json", body);
}

// True when one end of the body has "name": value, with or without a space after the colon.
static int says(const char *body, size_t n, const char *name, const char *value) {
    char tight[64], loose[64];
    size_t k = n < 2 * EDGE ? n : 2 * EDGE;
    int a = sprintf(tight, "\"%s\":%s", name, value), b = sprintf(loose, "\"%s\": %s", name, value);
    const char *ends[2] = {body, body + n - k};
    for (int i = 0; i < 2; i++) if (memmem(ends[i], k, tight, a) || memmem(ends[i], k, loose, b)) return 1;
    return 0;
}

static void get(conn *c, const char *path, size_t n) {
    char body[256];
#define IS(p) (n == sizeof p - 1 && !memcmp(path, p, n))
    if (IS("/v1/models")) put_response(c, "200 OK", "application/json", "{\"object\":\"list\",\"data\":[{\"id\":\"" MODEL "\",\"object\":\"model\",\"created\":1700000000,"
                                       "\"owned_by\":\"vllm\",\"root\":\"" MODEL "\",\"parent\":null,\"max_model_len\":32768}]}");
    else if (IS("/health")) put_response(c, "200 OK", "text/plain", "");
    else if (IS("/version")) put_response(c, "200 OK", "application/json", "{\"version\":\"0.11.0\"}");
    else if (IS("/metrics")) put_response(c, "200 OK", "text/plain; version=0.0.4", "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name=\"" MODEL "\"} 0.0\n"
                                          "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name=\"" MODEL "\"} 0.0\n");
    else if (IS("/counter")) snprintf(body, sizeof body, "{\"requests\":%llu,\"refused\":%llu}", (unsigned long long)requests, (unsigned long long)refused), put_response(c, "200 OK", "application/json", body);
    else put_response(c, "404 Not Found", "application/json", "{\"error\":{\"message\":\"not found\",\"type\":\"NotFoundError\",\"param\":null,\"code\":404}}");
}

static void answer(conn *c, const char *body, size_t n) {
    const char *path = memchr(c->buf, ' ', c->head_len), *end = path ? memchr(path + 1, ' ', c->head_len - (path + 1 - c->buf)) : 0;
    if (!end) { c->closed = 1; return; }
    size_t path_len = end - ++path;
    if (!memcmp(c->buf, "GET", 3)) { get(c, path, path_len); return; }
    if (path_len != 20 || memcmp(path, "/v1/chat/completions", 20)) { get(c, "", 0); return; }
    if (!says(body, n, "model", "\"" MODEL "\"")) {
        put_response(c, "404 Not Found", "application/json", "{\"error\":{\"message\":\"The model does not exist.\",\"type\":\"NotFoundError\",\"param\":\"model\",\"code\":404}}");
        return;
    }
    if (forgetful && says(body, n, "image_url", "null")) {
        refused++;
        put_response(c, "400 Bad Request", "application/json", "{\"error\":{\"message\":\"Cache miss for image at index 0 but data is not provided.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}}");
        return;
    }
    requests++;
    c->id = ++last_id, c->token = 0;
    c->streaming = says(body, n, "stream", "true");
    c->usage = c->streaming && says(body, n, "include_usage", "true");
    if (c->streaming) {
        static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\nCache-Control: no-cache\r\n\r\n";
        put(c, head, sizeof head - 1);
    }
    if (delay_ns || (c->streaming && interval_ns)) { wait_until(c, now() + delay_ns); arm(); }
    else if (c->streaming) while (!put_token(c));
    else put_json(c);
}

static void consume(conn *c, size_t n) {
    memmove(c->buf, c->buf + n, c->len - n);
    c->len -= n, c->state = HEAD;
}

static void advance(conn *c) {  // answers every complete request in the buffer
    while (!c->closed && !c->waiting) {
        if (c->state == HEAD) {
            char *end = memmem(c->buf, c->len, "\r\n\r\n", 4), *at;
            if (!end) return;
            *end = 0;
            c->head_len = end + 4 - c->buf;
            c->body_len = (at = strcasestr(c->buf, "\ncontent-length:")) ? strtoull(at + 16, 0, 10) : 0;
            c->state = strcasestr(c->buf, "\ntransfer-encoding: chunked") ? CHUNKED : SIZED;
            c->pos = c->head_len;
            if (strcasestr(c->buf, "\nexpect: 100")) put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
            *end = '\r';
        }
        if (c->state == SIZED) {
            size_t total = c->head_len + c->body_len;
            if (c->skip) return;
            if (c->len < total) {
                if (c->len >= c->head_len + EDGE && total - c->len > 2 * EDGE) {  // keep what is here and the last EDGE bytes
                    c->skip = total - c->len - EDGE;
                    c->body_len -= c->skip;
                }
                return;
            }
            answer(c, c->buf + c->head_len, c->body_len);
            consume(c, total);
        } else {
            size_t size = 1;
            while (size) {
                char *eol = memmem(c->buf + c->pos, c->len - c->pos, "\r\n", 2);
                if (!eol) return;
                size = strtoull(c->buf + c->pos, 0, 16);
                size_t next = (eol - c->buf) + 2 + size + 2;
                if (c->len < next) return;
                c->pos = next;
            }
            answer(c, c->buf + c->head_len, c->pos - c->head_len);
            consume(c, c->pos);
        }
    }
}

static void receive(conn *c) {
    while (!c->closed) {
        ssize_t n;
        if (c->skip) {
            n = recv(c->fd, 0, c->skip, MSG_TRUNC | MSG_DONTWAIT);
            if (n > 0) { c->skip -= n; continue; }
        } else {
            if (c->cap - c->len < 65536) c->buf = realloc(c->buf, c->cap *= 2);
            n = recv(c->fd, c->buf + c->len, c->cap - c->len - 1, MSG_DONTWAIT);
            if (n > 0) {
                c->len += n, c->buf[c->len] = 0;
                advance(c);
                if (!c->skip && (size_t)n < 65536) return;  // drained; epoll is level-triggered anyway
                continue;
            }
        }
        if (n < 0 && errno == EAGAIN) return;
        c->closed = 1;
    }
}

static void tick(void) {
    uint64_t expired;
    if (read(timer_fd, &expired, 8) < 0) return;
    uint64_t t = now() + 20000;  // what is due within 20 us goes with this wake-up
    for (conn *c = waiting.next, *next; c; c = next) {
        next = c->next;
        if (c->due > t) continue;
        int done = c->streaming ? put_token(c) : (put_json(c), 1);
        if (!done && !c->closed && interval_ns) { c->due += interval_ns; continue; }
        while (!done && !c->closed) done = put_token(c);
        forget(c);
        if (c->closed) shutdown(c->fd, SHUT_RDWR);  // epoll reports it, and the main loop frees it
        else advance(c);
    }
    arm();
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"port", 1, 0, 'p'}, {"tokens", 1, 0, 't'}, {"interval-us", 1, 0, 'i'}, {"delay-us", 1, 0, 'd'}, {"forgetful", 0, 0, 'f'}, {0, 0, 0, 0}};
    int port = 0, one = 1, size = 8 << 20, send_size = 4 << 20, o;
    while ((o = getopt_long(argc, argv, "", options, 0)) > 0) {
        if (o == 'p') port = atoi(optarg);
        else if (o == 't') tokens = atoi(optarg);
        else if (o == 'i') interval_ns = atoll(optarg) * 1000;
        else if (o == 'd') delay_ns = atoll(optarg) * 1000;
        else if (o == 'f') forgetful = 1;
        else return 2;
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, 4);
    // Large buffers, so that a 1 MB request never waits for this process to be scheduled (FORCE needs root; else the limit applies).
    if (setsockopt(listener, SOL_SOCKET, SO_RCVBUFFORCE, &size, 4)) setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, 4);
    if (setsockopt(listener, SOL_SOCKET, SO_SNDBUFFORCE, &send_size, 4)) setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &send_size, 4);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) { perror("mock: bind"); return 1; }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = &waiting;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &e);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 256, -1), ticked = 0;
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (!c) {
                for (int fd; (fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 4);
                    c = calloc(1, sizeof *c);
                    c->fd = fd, c->cap = 1 << 18, c->buf = malloc(c->cap);
                    struct epoll_event x = {.events = EPOLLIN, .data.ptr = c};
                    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &x);
                }
            } else if (c == &waiting) {
                ticked = 1;
            } else {
                receive(c);
                if (c->closed) { forget(c); close(c->fd); free(c->buf); free(c); }
            }
        }
        if (ticked) tick();
    }
}
