"""A request is read as JSON says it, whether or not its pictures were cut out first."""

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import InvalidRequest, PictureRefused, SightlineError
from sightline.settings import Requests
from sightline.wire.protocol import ChatRequest, EngineQuestion, Parser

LIMITS = Requests()
LONG = base64.b64encode(bytes(range(256)) * 12).decode()  # worth cutting
SHORT = base64.b64encode(b"picture").decode()


def part(payload: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{payload}", **more}}


def body(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(content)}], **fields}


def read(sent: Any, limits: Requests = LIMITS, pictures: int = 16) -> ChatRequest:
    return Parser(limits, pictures).parse(sent if isinstance(sent, bytes) else json.dumps(sent).encode())


def outcome(sent: Any) -> int:
    try:
        read(sent)
    except SightlineError as refused:
        return refused.status
    return 200


def payloads(request: ChatRequest) -> list[bytes]:
    return [bytes(source.base64 or b"") for source in request.pictures]


@pytest.mark.parametrize("payload", [LONG, SHORT], ids=["cut", "left in"])
def test_a_picture_is_taken_out_with_its_bytes_as_they_came(payload: str) -> None:
    request = read(body({"type": "text", "text": "what?"}, part(payload, detail="low")))
    (source,) = request.pictures
    assert bytes(source.base64 or b"") == payload.encode()
    assert (source.index, source.detail, source.url) == (0, "low", None)
    assert source.param == "messages[0].content[1].image_url.url"
    assert request.body["messages"][0]["content"][1]["image_url"] == {"url": "picture:0", "detail": "low"}


def test_pictures_keep_their_order() -> None:
    other = LONG[4:] + LONG[:4]
    request = read(body(part(LONG), part(SHORT), part(other)))
    assert payloads(request) == [LONG.encode(), SHORT.encode(), other.encode()]


def test_a_slash_that_is_escaped_is_still_a_slash() -> None:
    r"""PHP's encoder writes every slash as \/."""
    slashes = "/" * 600
    sent = json.dumps(body(part(slashes))).replace("/", "\\/").encode()
    assert payloads(read(sent)) == [slashes.encode()]


def test_an_escaped_picture_that_comes_again_is_the_same_picture() -> None:
    parser = Parser(LIMITS, 16)
    sent = json.dumps(body(part("/+" * 400))).replace("/", "\\/").encode()
    for _ in range(4):
        assert payloads(parser.parse(sent)) == [b"/+" * 400]


def test_text_that_quotes_a_data_uri_stays_text() -> None:
    text = f"what is data:image/png;base64,{LONG} ?"
    request = read(body({"type": "text", "text": text}, part(LONG)))
    assert request.body["messages"][0]["content"][0]["text"] == text
    assert payloads(request) == [LONG.encode()]


def test_of_duplicate_keys_the_last_one_counts_for_key_and_engine_alike() -> None:
    other = LONG[4:] + LONG[:4]
    sent = json.dumps(body(part("@"))).replace(
        '"url": "data:image/png;base64,@"', f'"url": "x;base64,{LONG}", "url": "data:;base64,{other}"'
    )
    request = read(sent.encode())
    assert payloads(request) == [other.encode()]
    assert LONG not in EngineQuestion(request, ["u"], "s").body({"u": (b"new",)}).decode()


def test_what_the_engine_gets_is_the_request_with_the_prepared_pictures() -> None:
    request = read(body({"type": "text", "text": "a"}, part(LONG, detail="high"), stream=True, temperature=0.1, cache={"ttl": 5}))
    sent = json.loads(EngineQuestion(request, ["name"], "salt").body({"name": (b"data:image/jpeg;base64,", b"AAAA")}))
    assert sent == {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}, "uuid": "name"},
                ],
            }
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.1,
        "cache_salt": "salt",
    }


def test_a_picture_that_the_engine_has_goes_by_its_name_alone() -> None:
    request = read(body(part(LONG), part(SHORT)))
    question = EngineQuestion(request, ["old", "new"], "salt")
    first, second = json.loads(question.body({"new": (b"y",)}))["messages"][0]["content"]
    assert first == {"type": "image_url", "image_url": None, "uuid": "old"}
    assert second["image_url"] == {"url": "y"}


@pytest.mark.parametrize(
    "sent",
    [b"[" * 100_000, b'{"a":' * 100_000, b"", b"{", b'{"model": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b'"x"', b"\xff{}", b"{} {}"],
    ids=["[", "{", "empty", "half", "NaN", "1e999", "surrogate", "string", "not UTF-8", "two"],
)
def test_what_is_no_json_object_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(sent)
    assert refused.value.code == "invalid_json"


def test_nesting_is_limited_in_what_is_kept_too() -> None:
    deep: Any = 1
    for _ in range(LIMITS.nesting):
        deep = [deep]
    with pytest.raises(InvalidRequest) as refused:
        read(body({"type": "text", "text": "a"}, metadata=deep))
    assert refused.value.code == "invalid_json"


HOSTILE = {
    "beginnings of pictures without an end": b'{"a":"' + b";base64," * 500_000,
    "a name of megabytes": b'{"' + b"abcdefghij" * 400_000 + b'":1}',
    "a name of megabytes in a message": b'{"model":"m","messages":[{"role":"user","content":"a","' + b"abcdefghij" * 400_000 + b'":1}]}',
    "a million arrays": b'{"model":"m","messages":[{"role":"user","content":"a"}],"metadata":[' + b"[]," * 1_000_000 + b"[]]}",
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_is_refused_before_anybody_else_has_waited_for_it(sent: bytes) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRequest) as refused:
        read(sent)

    assert time.process_time() - began < 0.5  # each took seconds to hours
    assert len(refused.value.message) + len(refused.value.param or "") < 500


def test_a_part_without_a_type_never_reaches_the_engine() -> None:
    """The engine guesses the type of a part from its other names, and would fetch the URL itself."""
    with pytest.raises(InvalidRequest) as refused:
        read(body({"image_url": {"url": "http://169.254.169.254/"}}))
    assert refused.value.param == "messages[0].content[0].type"


@pytest.mark.parametrize(
    "smuggled",
    [
        {"type": "text", "text": "a", "image_url": {"url": "http://x/"}},
        {"type": "image_url", "image_url": {"url": "data:;base64,AA"}, "uuid": "theirs"},
        {"type": "image_url", "image_url": {"url": "data:;base64,AA", "uuid": "theirs"}},
        {"type": "image_embeds", "image_embeds": "AA"},
        {"type": "video_url", "video_url": {"url": "http://x/"}},
    ],
    ids=["second kind", "uuid", "uuid within", "embeds", "video"],
)
def test_parts_that_would_smuggle_something_in_are_refused(smuggled: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read(body(smuggled))


def test_more_pictures_than_allowed_are_refused_unopened() -> None:
    with pytest.raises(PictureRefused) as refused:
        read(body(*[part("not base64 at all")] * 3), pictures=2)
    assert refused.value.code == "too_many_images"


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_whatever_stands_in_a_body_is_read_or_refused(value: Any) -> None:
    """Never an exception of another kind."""
    for sent in (value, body(value), body(part(LONG), value), {"model": "m", "messages": value}, {"model": "m", "messages": [value]}):
        assert outcome(sent) in {200, 400}


def test_the_same_words_about_another_picture_are_read_once_and_have_its_bytes() -> None:
    """What is remembered of a request is its words: pictures are the new one's, and so is what stands in no picture."""
    parser = Parser(Requests(), 16)
    first, second = (parser.parse(json.dumps(body(part(letter * 1000))).encode()) for letter in "AB")
    other = parser.parse(json.dumps(body(part("A" * 1000), seed=1)).encode())

    assert second.body is first.body
    assert [bytes(request.pictures[0].base64 or b"")[:1] for request in (first, second, other)] == [b"A", b"B", b"A"]
    assert (first.body.get("seed"), other.body["seed"]) == (None, 1)


def test_a_refused_request_is_refused_again() -> None:
    parser = Parser(Requests(), 16)
    wrong = json.dumps({"model": "m", "messages": [], "note": "x" * 600}).encode()
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            parser.parse(wrong)


def test_a_body_of_millions_of_numbers_is_refused_before_it_is_read() -> None:
    """32 MB of them take half a second, in which nobody else is answered."""
    with pytest.raises(InvalidRequest, match="commas"):
        read(b'{"model":"m","messages":[],"stop":[' + b"1," * 600_000 + b"1]}")
