"""Under which key an answer is kept: who asked, about which pictures, what. A pure function of the request, everything in it.

The question leaves out the fields of `EXCLUDED` and nothing else, so that a field nobody thought of changes the key. Its texts stay as they
are but for users' texts, which are compared in Unicode NFC and without white space at their end.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from blake3 import blake3

from sightline.wire.marks import is_stacked

SCHEMA = 1  # of keys and values: a new number makes every older entry a miss

EXCLUDED = frozenset({"stream", "stream_options", "user", "metadata", "store", "safety_identifier", "prompt_cache_key", "cache"})

_canonical = msgspec.json.Encoder(order="sorted").encode
_WHITE = " \t\r\n"
_MARK = 32  # hex digits of a mark: 128 bits, so that nobody finds two tenants or pictures with one mark


@lru_cache(16)
def _key_of(purpose: str) -> bytes:
    return blake3(b"", derive_key_context=f"sightline answers 2 {purpose}").digest()


def _digest(purpose: str, *parts: Any) -> str:
    """64 hex digits over `parts`, told apart by JSON and from every other purpose by a key derived from its name."""
    return blake3(_canonical(parts), key=_key_of(purpose)).hexdigest()


def image_hash(hashes: Sequence[str]) -> str | None:
    """The pictures of a request as one hash: None without pictures, the picture's own when it is alone, else of all in their order."""
    if not hashes:
        return None
    return hashes[0] if len(hashes) == 1 else _digest("pictures", list(hashes))


def question_hash(body: Mapping[str, Any], *, revision: str, policy: str) -> str:
    """Everything but the pictures that can change the answer, as 64 hex digits.

    `body` is the request with `picture:N` in place of each picture's URL; `revision` tells apart what the engines serve under one model
    name, `policy` how pictures are prepared.
    """
    question = {name: body[name] for name in body.keys() - EXCLUDED}
    # A text that the model is to go on with, or that comes back in the answer, counts as it is, to the last blank.
    if not body.get("continue_final_message") and not body.get("echo") and isinstance(body.get("messages"), list):
        question["messages"] = [_light(message) for message in body["messages"]]
    return _digest("question", question, revision, policy)


def _light(message: Any) -> Any:
    """`message` with its user's texts in NFC and its end without white space, where both mean the same to a reader.

    White space goes only where nothing follows in the message: between two parts it may part two words. Only ASCII white space does, since
    others carry meaning. Texts of other roles are programs' and stay as they are. The engine is always sent the original.
    """
    if not isinstance(message, dict) or message.get("role") != "user":
        return message
    content = message.get("content")
    if isinstance(content, str):
        return message | {"content": _composed(content).rstrip(_WHITE)}
    if not isinstance(content, list):
        return message
    last = len(content) - 1
    return message | {"content": [_light_part(part, is_last=index == last) for index, part in enumerate(content)]}


def _light_part(part: Any, *, is_last: bool) -> Any:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        return part
    text = _composed(part["text"])
    return part | {"text": text.rstrip(_WHITE) if is_last else text}


def _composed(text: str) -> str:
    """`text` in NFC, but as it is where that would take longer than its length is worth."""
    return text if unicodedata.is_normalized("NFC", text) or is_stacked(text) else unicodedata.normalize("NFC", text)


@lru_cache(4096)
def tenant_mark(tenant: str) -> str:
    return _digest("tenant", tenant)[:_MARK]


@lru_cache(4096)
def model_mark(model: str) -> str:
    return _digest("model", model)[:_MARK]


@lru_cache(64)
def generation_mark(generation: str) -> str:
    return _digest("generation", generation)[:8]


@lru_cache(16_384)
def picture_mark(image: str) -> str:
    return _digest("picture", image)[:_MARK]


class PictureKeys(msgspec.Struct, frozen=True):
    """One picture of one tenant: the group of all answers about it, and its epoch (see `cache`). Both lie with its answers."""

    group: str
    epoch: str

    @classmethod
    def of(cls, generation: str, tenant: str, image: str) -> "PictureKeys":
        tag = f"{_prefix(generation)}:{{{tenant_mark(tenant)}.{picture_mark(image)}}}"
        return cls(f"{tag}:g", f"{tag}:e")


class Key(msgspec.Struct, frozen=True):
    """Where an answer is kept, and the hashes that the response names.

    `answer` reads `sl1:GENERATION:{TENANT.PICTURES}:a:MODEL:DIGEST`: the braces make a Redis Cluster keep one picture's keys together, the
    marks are for `pattern`, and the digest, over tenant, namespace, pictures and question in full, is the key proper.
    """

    image_hash: str | None
    question_hash: str
    answer: str
    lease: str
    pictures: tuple[PictureKeys, ...]


def make_key(*, tenant: str, generation: str, model: str, images: Sequence[str], question: str, namespace: str = "") -> Key:
    """`images` are the pictures' hashes in the request's order, `question` is `question_hash`'s, `model` the served name asked for."""
    whole = image_hash(images)
    digest = _digest("answer", tenant, generation, namespace, model, list(images), question)
    tag = f"{tenant_mark(tenant)}.{picture_mark(whole) if whole else digest[:_MARK]}"
    head, tail = f"{_prefix(generation)}:{{{tag}}}", f"{model_mark(model)}:{digest}"
    # Several pictures can be forgotten one by one, and by their common hash.
    pictures = tuple([PictureKeys.of(generation, tenant, name) for name in dict.fromkeys((*images, whole))]) if whole else ()
    return Key(whole, question, f"{head}:a:{tail}", f"{head}:l:{tail}", pictures)


def pattern(*, tenant: str | None = None, image: str | None = None, model: str | None = None, generation: str | None = None) -> str:
    """The glob that describes the answers of a tenant, about a picture alone, or of a model, for operations that may scan."""
    prefix = _prefix(generation) if generation is not None else f"sl{SCHEMA}:*"
    tag = f"{tenant_mark(tenant) if tenant is not None else '*'}.{picture_mark(image) if image is not None else '*'}"
    return f"{prefix}:{{{tag}}}:a:{model_mark(model) if model is not None else '*'}:*"


def _prefix(generation: str) -> str:
    return f"sl{SCHEMA}:{generation_mark(generation)}"
