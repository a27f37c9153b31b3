// lg: a closed-loop HTTP/1.1 load generator for chat completions. Prints one JSON line.
//
//   lg --port P --body FILE [--body FILE ...] [options]
//     --body FILE        JSON body; several are sent in turn
//     --path PATH        default /v1/chat/completions
//     --header 'K: V'    extra request header (repeatable)
//     --connections N    keep-alive connections, each with one request at a time (default 1)
//     --warmup S         seconds of load before measuring (default 0.2)
//     --duration S       seconds measured (default 1)
//     --min-requests N   go on (at most 3 x duration) until so many requests were measured
//     --stagger-us U     start connection i at i*U, so that paced streams do not run in lockstep
//     --new-question     every request asks something never asked before (same picture)
//     --new-image        every request carries a picture never sent before (same question)
//     --nonce N          where the counter behind those two starts; pass on "next" from one run to the following
//     --pids P[,P...]    report the CPU time of these processes per request
//     --core N           report how busy this CPU was (default 0, where the harness runs)
//
// --new-question writes 16 hex digits over the 16 '@' in the body (without it they become 16 'A').
// --new-image writes new values into 12 entries of the JPEG's luminance quantisation table, inside the base64: each of
// the 4^12 combinations is a valid JPEG of the same length whose decoded pixels differ. bodies.py lays out and checks this.
// Both patches are sent by writev beside the shared body, so a 1 MB body is never copied here.
//
// At the end no new request is started, but those in flight are awaited: "sent" is exact, and nothing is aborted.
// Errors: not 2xx, closed in mid-answer, JSON without "choices", stream without [DONE].
// "tok50"/"tok99": microseconds from the engine's send() of a token (its time stamp is the token) to our recv().
#define _GNU_SOURCE
#include <dirent.h>
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
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct { size_t at; int image; } patch;              // 16 bytes at `at`, from the picture or the question counter
typedef struct { char *data; size_t len; patch patches[4]; int n; unsigned char table[12]; } request;  // head and body
typedef struct {
    int fd, busy, want_write, status, in_body, chunked, close, sse, phase, line_len;
    const request *rq;
    char question[16], image[16], line[24], head[16384], seen[65536];  // seen: decoded body (its tail, for a stream)
    size_t sent, head_len, seen_len;
    long long left;                                          // body or chunk bytes still to come; -1: until close
    uint64_t started, first, begin;
} conn;
typedef struct { uint64_t *v; size_t n, cap; } series;

static int epoll_fd, port, connections = 1, new_question, new_image, core, n_requests, measuring;
static double duration = 1, warmup = 0.2;
static long min_requests, stagger_us;
static uint64_t nonce, sent, errors;
static char headers[4096], *path = "/v1/chat/completions", *pids;
static request requests[1024];
static series latency, ttfb, transit;

static uint64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
#define now() clock_ns(CLOCK_MONOTONIC)

static void add(series *s, uint64_t x) {
    if (s->n == s->cap) s->v = realloc(s->v, 8 * (s->cap = s->cap ? 2 * s->cap : 4096));
    s->v[s->n++] = x;
}
static int ascending(const void *a, const void *b) { uint64_t x = *(uint64_t *)a, y = *(uint64_t *)b; return x < y ? -1 : x > y; }
static double us(series *s, double q) { return s->n ? s->v[(size_t)(q * (s->n - 1))] / 1e3 : 0; }  // s is sorted

// CPU nanoseconds of the processes: the scheduler's exact figure for live threads, or utime+stime (10 ms ticks, which
// counts threads that have ended) where that is more.
static void cpu(uint64_t *exact, uint64_t *ticks) {
    *exact = *ticks = 0;
    char *list = strdup(pids ? pids : ""), name[600], text[1024];
    for (char *p = strtok(list, ","); p; p = strtok(0, ",")) {
        snprintf(name, sizeof name, "/proc/%s/task", p);
        DIR *d = opendir(name);
        for (struct dirent *e; d && (e = readdir(d));) {
            unsigned long long x;
            if (e->d_name[0] == '.') continue;
            snprintf(name, sizeof name, "/proc/%s/task/%s/schedstat", p, e->d_name);
            FILE *f = fopen(name, "r");
            if (f) { if (fscanf(f, "%llu", &x) == 1) *exact += x; fclose(f); }
        }
        if (d) closedir(d);
        snprintf(name, sizeof name, "/proc/%s/stat", p);
        FILE *f = fopen(name, "r");
        if (!f) continue;
        size_t n = fread(text, 1, sizeof text - 1, f);
        fclose(f);
        text[n] = 0;
        unsigned long user, kernel;
        char *q = strrchr(text, ')');
        if (q && sscanf(q + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) == 2) *ticks += (user + kernel) * (1000000000ull / sysconf(_SC_CLK_TCK));
    }
    free(list);
}

static uint64_t idle_ticks(void) {
    char text[8192], name[16];
    FILE *f = fopen("/proc/stat", "r");
    unsigned long long idle = 0, wait = 0;
    int n = snprintf(name, sizeof name, "cpu%d ", core);
    while (f && fgets(text, sizeof text, f)) if (!strncmp(text, name, n)) sscanf(text + n, "%*u %*u %*u %llu %llu", &idle, &wait);
    if (f) fclose(f);
    return idle + wait;
}

static const char B64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
#define TABLE 36  // base64 characters before the patched quantisation entries: (27 bytes of JPEG) / 3 * 4

static void load(const char *file) {
    request *r = &requests[n_requests++];
    FILE *f = fopen(file, "r");
    if (!f || n_requests == 1024) { perror(file); exit(2); }
    fseek(f, 0, SEEK_END);
    size_t n = ftell(f);
    rewind(f);
    r->data = malloc(n + sizeof headers + 512);
    r->len = sprintf(r->data, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: lg\r\n%sContent-Length: %zu\r\n\r\n", path, port, headers, n);
    char *body = r->data + r->len, *at;
    if (fread(body, 1, n, f) != n) { perror(file); exit(2); }
    fclose(f);
    r->len += n;
    if ((at = memmem(body, n, "@@@@@@@@@@@@@@@@", 16))) {
        memset(at, 'A', 16);
        if (new_question) r->patches[r->n++] = (patch){at - r->data, 0};
    } else if (new_question) { fprintf(stderr, "%s has no place for a new question\n", file); exit(2); }
    if (!new_image) return;
    if (!(at = memmem(body, n, "data:image/jpeg;base64,", 23))) { fprintf(stderr, "%s has no JPEG\n", file); exit(2); }
    at += 23 + TABLE;
    for (int i = 0; i < 4; i++) {
        unsigned v = 0;
        for (int k = 0; k < 4; k++) v = v << 6 | (strchr(B64, at[4 * i + k]) - B64);
        r->table[3 * i] = v >> 16, r->table[3 * i + 1] = v >> 8, r->table[3 * i + 2] = v;
    }
    r->patches[r->n++] = (patch){at - r->data, 1};
    if (r->n == 2 && r->patches[0].at > r->patches[1].at) { patch t = r->patches[0]; r->patches[0] = r->patches[1]; r->patches[1] = t; }
}

static void watch(conn *c, int op, int write) {
    struct epoll_event e = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, op, c->fd, &e);
    c->want_write = write;
}

static void dial(conn *c) {
    int one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (c->fd > 0) close(c->fd);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    for (int i = 0; connect(c->fd, (void *)&a, sizeof a); i++, usleep(20000)) if (i == 50) { perror("lg: connect"); exit(1); }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, 4);
    watch(c, EPOLL_CTL_ADD, 0);
}

static void transmit(conn *c) {
    const request *r = c->rq;
    while (c->sent < r->len) {
        struct iovec part[9];
        int n = 0;
        size_t pos = 0;
        for (int i = 0; i <= r->n; i++) {  // shared bytes up to the patch, then the patch; of all that what is not sent yet
            size_t end = i < r->n ? r->patches[i].at : r->len;
            if (end > c->sent) { size_t from = pos > c->sent ? pos : c->sent; part[n++] = (struct iovec){r->data + from, end - from}; }
            pos = end + 16;
            if (i < r->n && pos > c->sent) { size_t from = end > c->sent ? end : c->sent; part[n++] = (struct iovec){(r->patches[i].image ? c->image : c->question) + (from - end), pos - from}; }
        }
        struct msghdr m = {.msg_iov = part, .msg_iovlen = n};
        ssize_t k = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0) {
            if (errno == EAGAIN && !c->want_write) watch(c, EPOLL_CTL_MOD, 1);
            return;  // any other error shows up on reading
        }
        c->sent += k;
    }
    if (c->want_write) watch(c, EPOLL_CTL_MOD, 0);
}

static void start(conn *c) {
    char hex[17];
    uint64_t n = nonce++;
    const request *r = c->rq = &requests[n % n_requests];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)n * 0x9e3779b97f4a7c15ull);  // odd factor: still unique
    memcpy(c->question, hex, 16);
    for (int i = 0; i < 4; i++) {
        unsigned v = 0;
        for (int k = 0; k < 3; k++) v = v << 8 | (r->table[3 * i + k] + ((n >> 2 * (3 * i + k)) & 3));
        for (int k = 0; k < 4; k++) c->image[4 * i + k] = B64[v >> (18 - 6 * k) & 63];
    }
    c->sent = c->head_len = c->seen_len = c->first = 0;
    c->in_body = c->chunked = c->close = c->sse = c->phase = c->line_len = 0;
    c->busy = 1, sent++;
    c->started = now();
    transmit(c);
}

static void fail(conn *c, const char *why) {
    if (errors++ < 3) fprintf(stderr, "lg: %s, status %d: %.*s\n", why, c->status, (int)(c->seen_len < 300 ? c->seen_len : 300), c->seen);
}

static void finish(conn *c) {
    uint64_t t = now();
    c->busy = 0;
    if (c->status / 100 != 2) fail(c, "refused");
    else if (c->sse && !memmem(c->seen, c->seen_len, "[DONE]", 6)) fail(c, "stream without [DONE]");
    else if (!c->sse && !memmem(c->seen, c->seen_len, "\"choices\"", 9)) fail(c, "answer without choices");
    else if (measuring == 1) add(&latency, t - c->started), add(&ttfb, (c->first ? c->first : t) - c->started);
    if (c->close) dial(c);
}

static void body_bytes(conn *c, const char *p, size_t n, uint64_t t) {  // decoded body
    if (c->seen_len + n > sizeof c->seen) {  // keep the tail only
        size_t keep = c->seen_len < 64 ? c->seen_len : 64;
        memmove(c->seen, c->seen + c->seen_len - keep, keep);
        c->seen_len = keep;
        if (n > sizeof c->seen - 64) p += n - (sizeof c->seen - 64), n = sizeof c->seen - 64;
    }
    char *from = c->seen + c->seen_len, *end = from + n;
    memcpy(from, p, n);
    c->seen_len += n;
    if (!c->sse || measuring != 1) return;
    for (from = from - c->seen > 32 ? from - 32 : c->seen; (from = memmem(from, end - from, "\"tk", 3)); ) {  // a token may straddle two reads
        from += 3;
        if (end - from < 15) return;
        if (from[14] != ' ' || from + 14 < c->seen + c->seen_len - n) continue;  // not a stamp, or counted with the last read
        uint64_t x = 0;
        for (int i = 0; i < 14; i++) x = x << 4 | (from[i] - 'a');
        if (t > x) add(&transit, t - x);
    }
}

static int body(conn *c, char *p, size_t n, uint64_t t) {  // 1 when the answer is complete
    if (!c->chunked) {
        body_bytes(c, p, n, t);
        return c->left >= 0 && (c->left -= n) <= 0;
    }
    while (n) {
        if (c->phase == 1) {  // chunk data
            size_t k = n < (size_t)c->left ? n : (size_t)c->left;
            body_bytes(c, p, k, t);
            p += k, n -= k, c->left -= k;
            if (!c->left) c->phase = 2;
            continue;
        }
        char ch = *p++;
        n--;
        if (ch != '\n') { if (ch != '\r' && c->line_len < 23) c->line[c->line_len++] = ch; continue; }
        c->line[c->line_len] = 0;
        int empty = !c->line_len;
        c->line_len = 0;
        if (c->phase == 0) c->left = strtoll(c->line, 0, 16), c->phase = c->left ? 1 : 3;  // chunk size
        else if (c->phase == 2) c->phase = 0;                                              // line end after chunk data
        else if (empty) return 1;                                                          // trailers, then an empty line
    }
    return 0;
}

static void receive(conn *c) {
    static char buf[262144];
    for (;;) {
        ssize_t r = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);
        if (r < 0 && errno == EAGAIN) return;
        uint64_t t = now();
        if (r <= 0) {
            c->close = 1;
            if (c->busy && c->in_body && c->left < 0 && !c->chunked) finish(c);
            else { if (c->busy) fail(c, "closed in mid-answer"); c->busy = 0; dial(c); }
            return;
        }
        char *p = buf;
        size_t n = r;
        if (!c->in_body) {
            size_t k = n < sizeof c->head - 1 - c->head_len ? n : sizeof c->head - 1 - c->head_len;
            memcpy(c->head + c->head_len, p, k);
            c->head[c->head_len + k] = 0;
            char *end = strstr(c->head, "\r\n\r\n"), *at;
            if (!end) { c->head_len += k; continue; }
            size_t used = end + 4 - c->head - c->head_len;
            p += used, n -= used, c->head_len += used, end[2] = 0;
            c->status = atoi(c->head + 9);
            if (c->status == 100) { c->head_len = 0; continue; }
            c->in_body = 1;
            c->chunked = strcasestr(c->head, "\ntransfer-encoding: chunked") != 0;
            c->sse = strcasestr(c->head, "\ncontent-type: text/event-stream") != 0;
            c->close = strcasestr(c->head, "\nconnection: close") != 0;
            c->left = (at = strcasestr(c->head, "\ncontent-length:")) ? strtoll(at + 16, 0, 10) : -1;
            if (c->chunked || c->left) { if (!n) continue; } else { finish(c); return; }
        }
        if (!c->first) c->first = t;
        if (body(c, p, n, t)) { finish(c); return; }
    }
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"port", 1, 0, 'p'}, {"body", 1, 0, 'b'}, {"path", 1, 0, 'u'}, {"header", 1, 0, 'H'}, {"connections", 1, 0, 'c'}, {"warmup", 1, 0, 'w'},
        {"duration", 1, 0, 'd'}, {"min-requests", 1, 0, 'm'}, {"stagger-us", 1, 0, 's'}, {"new-question", 0, 0, 'q'}, {"new-image", 0, 0, 'i'}, {"nonce", 1, 0, 'n'}, {"pids", 1, 0, 'P'}, {"core", 1, 0, 'C'}, {0, 0, 0, 0}};
    char *files[1024];
    int n_files = 0, o;
    while ((o = getopt_long(argc, argv, "", options, 0)) > 0) switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'b': if (n_files < 1023) files[n_files++] = optarg; break;
        case 'u': path = optarg; break;
        case 'H': if (strlen(headers) + strlen(optarg) + 3 < sizeof headers) strcat(strcat(headers, optarg), "\r\n"); break;
        case 'c': connections = atoi(optarg); break;
        case 'w': warmup = atof(optarg); break;
        case 'd': duration = atof(optarg); break;
        case 'm': min_requests = atol(optarg); break;
        case 's': stagger_us = atol(optarg); break;
        case 'q': new_question = 1; break;
        case 'i': new_image = 1; break;
        case 'n': nonce = strtoull(optarg, 0, 10); break;
        case 'P': pids = optarg; break;
        case 'C': core = atoi(optarg); break;
        default: return 2;
    }
    for (int i = 0; i < n_files; i++) load(files[i]);
    if (!n_requests || !port) { fprintf(stderr, "lg: --port and --body are needed\n"); return 2; }
    epoll_fd = epoll_create1(0);
    conn *conns = calloc(connections, sizeof *conns);
    uint64_t begin = now(), from = begin + warmup * 1e9, until = from + duration * 1e9, latest = from + 3 * duration * 1e9, at = 0, t, c0, c1, k0, k1, idle = 0, own = 0;
    for (int i = 0; i < connections; i++) dial(&conns[i]), conns[i].begin = begin + i * stagger_us * 1000ull;
    struct epoll_event events[256];
    for (;;) {
        t = now();
        if (!measuring && t >= from) { measuring = 1, at = t, idle = idle_ticks(), own = clock_ns(CLOCK_PROCESS_CPUTIME_ID); cpu(&c0, &k0); }
        if (measuring && t >= until && ((long)latency.n >= min_requests || t >= latest)) break;
        for (int i = 0; i < connections; i++) if (!conns[i].busy && t >= conns[i].begin) start(&conns[i]);
        int n = epoll_wait(epoll_fd, events, 256, stagger_us && !measuring ? 1 : 20);
        for (int i = 0; i < n; i++) {
            if (events[i].events & EPOLLOUT) transmit(events[i].data.ptr);
            if (events[i].events & ~EPOLLOUT) receive(events[i].data.ptr);
        }
    }
    cpu(&c1, &k1);
    double s = (now() - at) / 1e9, busy = 1 - (idle_ticks() - idle) / (s * sysconf(_SC_CLK_TCK));
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    measuring = 2;
    for (uint64_t limit = now() + 20000000000ull;;) {  // the answers still in flight
        int left = 0;
        for (int i = 0; i < connections; i++) left += conns[i].busy;
        if (!left) break;
        if (now() > limit) { errors += left; fprintf(stderr, "lg: %d requests without an answer after 20 s\n", left); break; }
        int n = epoll_wait(epoll_fd, events, 256, 20);
        for (int i = 0; i < n; i++) {
            if (events[i].events & EPOLLOUT) transmit(events[i].data.ptr);
            if (events[i].events & ~EPOLLOUT) receive(events[i].data.ptr);
        }
    }
    qsort(latency.v, latency.n, 8, ascending), qsort(ttfb.v, ttfb.n, 8, ascending), qsort(transit.v, transit.n, 8, ascending);
    uint64_t used = c1 - c0 > k1 - k0 ? c1 - c0 : k1 - k0;
    printf("{\"rps\":%.2f,\"n\":%zu,\"sent\":%llu,\"errors\":%llu,\"next\":%llu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"ttfb50\":%.1f,\"ttfb99\":%.1f,\"tokens\":%zu,\"tok50\":%.1f,\"tok99\":%.1f,\"lg_cpu_us\":%.1f,\"core_busy\":%.3f",
           latency.n / s, latency.n, (unsigned long long)sent, (unsigned long long)errors, (unsigned long long)nonce, us(&latency, .5), us(&latency, .9), us(&latency, .99), us(&ttfb, .5), us(&ttfb, .99),
           transit.n, us(&transit, .5), us(&transit, .99), latency.n ? own / 1e3 / latency.n : 0, busy);
    if (pids) printf(",\"cpu_us\":%.1f,\"cpu_util\":%.3f", latency.n ? used / 1e3 / latency.n : 0, used / 1e9 / s);
    printf("}\n");
    return 0;
}
