"""A chat request as it arrives: parsed once, strictly, with its pictures cut out before JSON sees them.

A body is mostly base64. Cutting that out with `find` and decoding only the skeleton costs 13 µs for a 1 MB body where a JSON decoder
takes 260 (measured), and the cut bytes can go to the engine as they came. A cut has no quote and no backslash in it, so it lies within one
JSON string; whatever does not turn out to be a picture (text that quotes a data URI, a duplicate key) makes us parse the body whole.
"""

import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from sightline.errors import InvalidRequest, PictureRefused
from sightline.settings import Requests
from sightline.wire import fields
from sightline.wire.runs import Runs

_MARK = b";base64,"
_MOST_BRACKETS = 200_000  # `[` and `{` in a body, texts included: an array takes half a microsecond and 64 bytes for two bytes sent
_MOST_COMMAS = 500_000  # in a body, texts included: an item takes 30 ns and 32 bytes for two bytes sent
_WORTH_KEEPING, _KEPT = 4096, 2**21  # bytes of a body without its pictures that is remembered, and of all those together
_WORTH_CUTTING = 512  # bytes; below that the decoder is as fast
_NONCE = secrets.token_hex(16).encode()  # stands where a cut was; nobody outside this process knows it
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_TEXT, _IMAGE = fields.PARTS["text"], fields.PARTS["image_url"]
_OURS = fields.OURS | {"stream_options"}

Base64 = bytes | bytearray | memoryview
Cut = tuple[Base64, dict[Any, Any] | None]
_NOWHERE: Cut = b"", None
_OVERHEAD = 1000  # bytes of objects that a remembered request is at least
_RUNS = 64 * 2**20  # bytes of pictures' base64 that is known again by comparing it


class PictureSource(msgspec.Struct, frozen=True):
    """A picture as a request names it: the payload of a data URI (ASCII, not yet validated), or a URL to fetch.

    `notes` are those of a payload that has come before (see `runs`).
    """

    index: int
    param: str
    detail: str | None
    base64: Base64 | None
    url: str | None
    notes: dict[Any, Any] | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """A request that passed the door. In `body` each picture's URL reads `picture:N`; Sightline's own fields are taken out.

    Nothing in it is changed by anybody: requests of the same words share it. `digests` is where those who take a digest of the question
    find it again, by what it depends on besides.
    """

    model: str
    stream: bool
    include_usage: bool
    body: dict[str, Any]
    pictures: tuple[PictureSource, ...]
    cache: Any
    digests: dict[Any, str]


class Parser:
    """Reads request bodies, and remembers what those that came lately meant: the same question is asked about many pictures, and the
    same request again and again. `pictures` is how many one may have.
    """

    def __init__(self, limits: Requests, pictures: int) -> None:
        self._limits = limits
        self._pictures = pictures
        self._read: OrderedDict[bytes, ChatRequest] = OrderedDict()
        self._size = 0
        self._runs = Runs(_RUNS)

    def parse(self, data: bytes | bytearray) -> ChatRequest:
        """Raises InvalidRequest or PictureRefused."""
        skeleton, cuts = _cut(data, self._runs, self._pictures)
        known = self._read.get(skeleton)
        if known is not None:
            self._read.move_to_end(skeleton)
            return _with(known, cuts) if cuts else known
        try:
            request, used = _read(_json(skeleton, self._limits.nesting), cuts, self._limits, self._pictures)
        except InvalidRequest:
            if not cuts:
                raise
            used = -1
        if used != len(cuts):  # a cut is no picture, or the body is wrong somewhere: what it means, the whole body says
            request, _ = _read(_json(data, self._limits.nesting), (), self._limits, self._pictures)
        elif len(skeleton) <= _WORTH_KEEPING and used == len(request.pictures):
            self._remember(skeleton, _with(request, (_NOWHERE,) * used))
        return request

    def _remember(self, skeleton: bytes, request: ChatRequest) -> None:
        self._read[skeleton] = request
        self._size += len(skeleton) + _OVERHEAD
        while self._size > _KEPT:
            oldest, _ = self._read.popitem(last=False)
            self._size -= len(oldest) + _OVERHEAD


def _with(request: ChatRequest, cuts: Sequence[Cut]) -> ChatRequest:
    """`request` about other pictures: their base64 in order."""
    pictures = tuple(
        [
            PictureSource(was.index, was.param, was.detail, data, None, notes)
            for was, (data, notes) in zip(request.pictures, cuts, strict=True)
        ]
    )
    return ChatRequest(request.model, request.stream, request.include_usage, request.body, pictures, request.cache, request.digests)


class EngineQuestion(msgspec.Struct, frozen=True):
    """A request as an engine is asked it: `uuids` name its pictures, in order; `lines` are header lines that go with it."""

    request: ChatRequest
    uuids: Sequence[str]
    salt: str
    lines: bytes = b""

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def stream(self) -> bool:
        return self.request.stream

    def body(self, pictures: Mapping[str, Sequence[Base64]]) -> bytes:
        """The JSON for the engine. `pictures` are data URIs in pieces, by uuid; one that is not among them goes by its uuid alone."""
        body = self.request.body | {"cache_salt": self.salt}
        if self.uuids:
            body["messages"] = [self._with_pictures(message, pictures) for message in body["messages"]]
        if self.request.stream:
            body["stream_options"] = {"include_usage": True}
        return _encode(body)

    def _with_pictures(self, message: dict[str, Any], pictures: Mapping[str, Sequence[Base64]]) -> dict[str, Any]:
        content = message.get("content")
        if not isinstance(content, list):
            return message
        return message | {"content": [self._picture(part, pictures) if part["type"] == "image_url" else part for part in content]}

    def _picture(self, part: dict[str, Any], pictures: Mapping[str, Sequence[Base64]]) -> dict[str, Any]:
        uuid = self.uuids[int(part["image_url"]["url"].removeprefix("picture:"))]
        pieces = pictures.get(uuid)
        url = None if pieces is None else {"url": msgspec.Raw(b"".join((b'"', *pieces, b'"')))}
        return {"type": "image_url", "image_url": url, "uuid": uuid}


def _cut(data: bytes | bytearray, runs: Runs, most: int) -> tuple[bytes, list[Cut]]:
    """The body with long base64 runs, `most` at most, replaced by placeholders, and those runs in order."""
    at = data.find(_MARK)
    if at < 0:
        return bytes(data), []
    view, done = memoryview(data), 0
    pieces: list[Base64] = []
    cuts: list[Cut] = []
    while at >= 0 and len(cuts) < most:
        start = at + len(_MARK)
        end = data.find(b'"', start)
        if end < 0:  # no JSON; and to look for the end of each of millions would take hours
            break
        if end - start >= _WORTH_CUTTING:
            run = runs.find(data, start, end)
            if run is not None or data.find(b"\\", start, end) < 0:
                pieces += (view[done:start], b"%b:%d" % (_NONCE, len(cuts)))
                cuts.append((view[start:end], None) if run is None else (run.data, run.notes))
                done = end
        at = data.find(_MARK, max(start, end))
    if not cuts:
        return bytes(data), []
    return b"".join((*pieces, view[done:])), cuts


def _json(data: bytes | bytearray, nesting: int) -> dict[str, Any]:
    brackets = data.count(b"[") + data.count(b"{")
    if brackets > _MOST_BRACKETS:
        raise InvalidRequest(f"The body holds more than {_MOST_BRACKETS:,} brackets and braces. Ask for less at once.", code="invalid_json")
    if len(data) > _MOST_COMMAS and data.count(b",") > _MOST_COMMAS:
        raise InvalidRequest(f"The body holds more than {_MOST_COMMAS:,} commas. Ask for less at once.", code="invalid_json")
    try:
        body = _decode(data)
    except RecursionError:
        body = None
        deep = True
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest("The body is not valid JSON (RFC 8259, UTF-8).", code="invalid_json") from None
    else:
        deep = brackets > nesting and _depth(body) > nesting
    if deep:
        raise InvalidRequest(f"The body is nested more than {nesting} levels deep.", code="invalid_json")
    if not isinstance(body, dict):
        raise InvalidRequest("The body should be a JSON object.", code="invalid_json")
    return body


def _depth(value: Any) -> int:
    """Levels of arrays and objects, without recursion."""
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return depth


def _read(body: dict[str, Any], cuts: Sequence[Cut], limits: Requests, pictures: int) -> tuple[ChatRequest, int]:
    """Checks what Sightline itself uses; the rest is the engine's to judge. Also tells how many cuts were pictures."""
    if not body.keys() <= fields.ACCEPTED:
        for name in body:
            if name not in fields.ACCEPTED and (fields.is_refused(name) or limits.unknown_fields == "refuse"):
                raise InvalidRequest(fields.why_not(name, fields.ACCEPTED), code="unsupported_parameter", param=fields.shown(name))
    model = _required(body, "model", str, "a string")
    messages = _required(body, "messages", list, "an array")
    if not messages:
        raise InvalidRequest("'messages' is empty: it should hold at least one message.", param="messages")
    if len(messages) > limits.messages:
        raise InvalidRequest(f"'messages' holds {len(messages)} messages; at most {limits.messages} are taken.", param="messages")
    stream = _boolean(body, "stream")
    include_usage = _stream_options(body, stream) if "stream_options" in body else False
    found = list(_take_pictures(messages, cuts))
    if len(found) > pictures:
        raise PictureRefused(
            f"The request holds {len(found)} pictures; at most {pictures} are taken.", code="too_many_images", param="messages"
        )
    cache = body.get("cache")
    for name in _OURS & body.keys():
        del body[name]
    sources = tuple([source for source, _ in found])
    return ChatRequest(model, stream, include_usage, body, sources, cache, {}), sum([was_cut for _, was_cut in found])


def _required(body: Mapping[str, Any], name: str, kind: type, what: str) -> Any:
    if body.get(name) is None:
        raise InvalidRequest(f"{name!r} is missing.", code="missing_required_parameter", param=name)
    if not isinstance(body[name], kind):
        raise InvalidRequest(f"{name!r} should be {what}.", param=name)
    return body[name]


def _boolean(body: Mapping[str, Any], name: str, where: str = "") -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{where + name!r} should be true or false.", param=where + name)
    return bool(value)


def _stream_options(body: Mapping[str, Any], stream: bool) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise InvalidRequest("'stream_options' should be an object.", param="stream_options")
    if not stream:
        raise InvalidRequest("'stream_options' goes with 'stream': true only.", param="stream_options")
    _only(options, fields.STREAM_OPTIONS, "stream_options.")
    return _boolean(options, "include_usage", "stream_options.")


def _only(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if value.keys() <= known:
        return
    name = next(name for name in value if name not in known)
    raise InvalidRequest(fields.why_not(name, known), code="unsupported_parameter", param=where + fields.shown(name))


def _take_pictures(messages: list[Any], cuts: Sequence[Cut]) -> Iterator[tuple[PictureSource, bool]]:
    """Each picture in order, its URL in the message replaced by `picture:N`, and whether it had been cut out."""
    index = 0
    for m, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequest(f"'messages[{m}]' should be an object.", param=f"messages[{m}]")
        if not message.keys() <= fields.MESSAGE:
            _only(message, fields.MESSAGE, f"messages[{m}].")
        if not isinstance(message.get("role"), str):
            where = f"messages[{m}].role"
            _required({where: message.get("role")}, where, str, "a string")
        content = message.get("content")
        if content is None or isinstance(content, str):
            continue
        if not isinstance(content, list):
            where = f"messages[{m}].content"
            raise InvalidRequest(f"'{where}' should be a string or an array of parts.", param=where)
        for p, part in enumerate(content):
            at = f"messages[{m}].content[{p}]"
            if _part_type(part, at) == "image_url":
                source, was_cut = _picture(part["image_url"], index, f"{at}.image_url", cuts)
                part["image_url"] = {**part["image_url"], "url": f"picture:{index}"}
                index += 1
                yield source, was_cut


def _part_type(part: Any, at: str) -> str:
    if not isinstance(part, dict):
        raise InvalidRequest(f"'{at}' should be an object.", param=at)
    kind = part.get("type")
    right: type
    if kind == "text":
        known, right, what = _TEXT, str, "a string"
    elif kind == "image_url":
        known, right, what = _IMAGE, dict, "an object"
    else:
        kind = _required({f"{at}.type": kind}, f"{at}.type", str, "a string")
        raise InvalidRequest(f"'{at}.type' is {kind[:40]!r}; parts are of type 'text' or 'image_url'.", param=f"{at}.type")
    _only(part, known, f"{at}.")
    if not isinstance(part.get(kind), right):
        _required({f"{at}.{kind}": part.get(kind)}, f"{at}.{kind}", right, what)
    return str(kind)


def _picture(image_url: dict[str, Any], index: int, at: str, cuts: Sequence[Cut]) -> tuple[PictureSource, bool]:
    _only(image_url, fields.IMAGE_URL, f"{at}.")
    param = f"{at}.url"
    url = _required({param: image_url.get("url")}, param, str, "a string")
    detail = image_url.get("detail")
    if detail is not None and detail not in fields.DETAILS:
        raise InvalidRequest(f"'{at}.detail' should be one of {', '.join(sorted(fields.DETAILS))}.", param=f"{at}.detail")
    detail = "high" if detail == "original" else detail
    if url[:5].lower() != "data:":
        return PictureSource(index, param, detail, None, url), False
    head, comma, payload = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise PictureRefused("A data URI should read data:image/…;base64,….", code="invalid_image_url", param=param)
    nonce, _, number = payload.partition(":")
    if cuts and nonce.encode("utf-8", "replace") == _NONCE:
        data, notes = cuts[int(number)]
        return PictureSource(index, param, detail, data, None, notes), True
    try:
        return PictureSource(index, param, detail, payload.encode("ascii"), None), False
    except UnicodeEncodeError:
        raise PictureRefused(
            "The picture's base64 holds characters that are not base64.", code="invalid_base64_image", param=param
        ) from None
