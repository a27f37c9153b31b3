"""The head of a chat request: what is read of it, and the one that came last on a connection, known again by comparing bytes.

A client that keeps its connection sends the same head each time, but for the length of the body. To compare it costs a microsecond; to
parse it, fifteen to thirty (measured), which is a tenth of a kept answer.
"""

import msgspec

from sightline.http.responses import Headers

_LENGTHS = b"\r\nContent-Length: ", b"\r\ncontent-length: "
_DIGITS = 15  # of a length that is read here


class Head(msgspec.Struct):
    """What the chat route reads of a request's headers; of those that may stand once, the first."""

    request_id: bytes = b""
    content_type: bytes = b""
    content_length: bytes = b""
    cache_control: bytes | None = None
    expect: bytes = b""
    traceparent: bytes = b""
    authorization: list[bytes] = []
    forwarded: list[bytes] = []

    @classmethod
    def of(cls, headers: Headers) -> "Head":
        head = cls()
        for name, value in headers:
            attribute = _ONCE.get(name)
            if attribute is not None:
                if not getattr(head, attribute):
                    setattr(head, attribute, value)
                elif name == b"cache-control":  # a list: several lines are one (RFC 9110 §5.3)
                    head.cache_control = b"%b, %b" % (head.cache_control or b"", value)
            elif name == b"authorization":
                head.authorization.append(value)
            elif name == b"x-forwarded-for":
                head.forwarded.append(value)
        return head


_ONCE = {
    b"x-request-id": "request_id",
    b"content-type": "content_type",
    b"content-length": "content_length",
    b"cache-control": "cache_control",
    b"expect": "expect",
    b"traceparent": "traceparent",
}


class Known(msgspec.Struct, frozen=True):
    """A head that has been parsed: its bytes before and behind the digits of its Content-Length, and what they meant."""

    before: bytes
    behind: bytes
    head: Head
    keep_alive: bool

    @classmethod
    def of(cls, data: bytes, head: Head, *, keep_alive: bool) -> "Known | None":
        """`data` begins with the one head that was parsed as `head`; None where its length does not stand as almost everybody writes it.

        The parser takes no line that ends otherwise than by CRLF, none that goes on in the next, and no second length: the first empty
        line is the head's end, and what stands there is the length that it read.
        """
        end = data.find(b"\r\n\r\n") + 4
        for name in _LENGTHS:
            at = data.find(name, 0, end)
            if at >= 0:
                first = at + len(name)
                last = data.find(b"\r\n", first, end)
                if data[first:last] == head.content_length and head.content_length.isdigit():
                    return cls(data[:first], data[last:end], head, keep_alive)
        return None

    def again(self, data: bytes) -> tuple[Head, int] | None:
        """What the head at the beginning of `data` says, and where it ends, if it is this one but for the body's length."""
        if not data.startswith(self.before):
            return None
        first = len(self.before)
        last = data.find(b"\r\n", first, first + _DIGITS + 2)
        if last < 0 or not data.startswith(self.behind, last):
            return None
        head, length = self.head, data[first:last]
        if length != head.content_length:
            if not length.isdigit():
                return None
            head = msgspec.structs.replace(head, content_length=length)
        return head, last + len(self.behind)
