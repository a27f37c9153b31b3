"""What a caller asks of the result cache, and what the cache may do for a request: pure decisions on the body, a header and settings."""

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from sightline.errors import InvalidRequest
from sightline.settings import Cache

FIELDS = ("no-cache", "no-store", "ttl", "namespace", "use")
NAMESPACE_LENGTH = 128
_LONGEST_NAME = 100  # characters of a field's name that are looked at and repeated: a caller may send one of megabytes

# What asks for more than one choice's text, or for things that chunks carry otherwise than JSON: proven by no law in wire.folding.
NOT_FOLDED = frozenset(
    {
        "logprobs",
        "top_logprobs",
        "logprob_token_ids",
        "prompt_logprobs",
        "return_token_ids",
        "return_prompt_text",
        "use_beam_search",
        "audio",
    }
)


class Controls(msgspec.Struct, frozen=True):
    """What the request says: `cache` in its body and `Cache-Control` among its headers, taken together."""

    no_cache: bool = False
    no_store: bool = False
    ttl: int | None = None
    namespace: str = ""
    use: bool = False
    max_age: int | None = None


_NOTHING = Controls()


class Decision(msgspec.Struct, frozen=True):
    """What is done: whether a kept answer may be used (`max_age` seconds old at most), whether the new one is kept, and why.

    `reason` is one of a small closed set of words, for logs.
    """

    read: bool
    write: bool
    ttl: int
    namespace: str
    reason: str
    max_age: int | None = None

    @property
    def share(self) -> bool:
        """Whether the request may share an engine call with others: who asks for a fresh or an unkept answer asks alone."""
        return self.read and self.write


def controls(cache: object, cache_control: str | None, settings: Cache) -> Controls:
    """Reads and checks a request's controls, the field and the header; raises InvalidRequest naming what is wrong."""
    if cache is None and cache_control is None:
        return _NOTHING
    asked = {} if cache is None else cache
    if not isinstance(asked, Mapping):
        raise InvalidRequest('`cache` is an object such as {"no-cache": true}.', param="cache")
    for name, value in asked.items():
        _check(name, value, settings)
    no_cache, no_store, max_age = _directives(cache_control)
    return Controls(
        no_cache=no_cache or bool(asked.get("no-cache")),
        no_store=no_store or bool(asked.get("no-store")),
        ttl=asked.get("ttl"),
        namespace=asked.get("namespace") or "",
        use=bool(asked.get("use")),
        max_age=max_age,
    )


def _check(name: str, value: object, settings: Cache) -> None:
    param = f"cache.{name[:_LONGEST_NAME]}"
    if name not in FIELDS:
        near = difflib.get_close_matches(name[:_LONGEST_NAME].replace("_", "-"), FIELDS, 1)
        raise InvalidRequest(
            f"`cache` knows {', '.join(FIELDS)}{f'; did you mean {near[0]}?' if near else '.'}", code="unsupported_parameter", param=param
        )
    if value is None:
        return
    if name == "ttl":
        if type(value) is not int or not 1 <= value <= settings.max_ttl:
            raise InvalidRequest(f"`{param}` is a whole number of seconds from 1 to {settings.max_ttl}.", param=param)
    elif name == "namespace":
        if not isinstance(value, str) or len(value) > NAMESPACE_LENGTH:
            raise InvalidRequest(f"`{param}` is a text of at most {NAMESPACE_LENGTH} characters.", param=param)
    elif not isinstance(value, bool):
        raise InvalidRequest(f"`{param}` is true or false.", param=param)


def _directives(header: str | None) -> tuple[bool, bool, int | None]:
    """no-cache, no-store and max-age of a `Cache-Control` request header.

    "A cache MUST ignore unrecognized cache directives" (RFC 9111 §5.2.3), and a freshness that cannot be read counts as stale (§4.2.1).
    """
    no_cache = no_store = False
    max_age: int | None = None
    for directive in (header or "").lower().split(","):
        name, _, argument = (part.strip() for part in directive.partition("="))
        if name == "no-cache":
            no_cache = True
        elif name == "no-store":
            no_store = True
        elif name == "max-age":
            argument = argument.strip('"')
            seconds = int(argument) if argument.isascii() and argument.isdigit() and len(argument) <= 10 else 0
            max_age = seconds if max_age is None else min(seconds, max_age)
    return no_cache or max_age == 0, no_store, max_age


def decide(
    body: Mapping[str, Any], cache: object, cache_control: str | None, settings: Cache, *, default_ttl: int | None = None
) -> Decision:
    """What the cache does for the request in `body` with its field `cache`; raises InvalidRequest.

    `default_ttl` is the caller's own, where the key has one.
    """
    asked = controls(cache, cache_control, settings)
    ttl = min(asked.ttl or default_ttl or settings.ttl, settings.max_ttl)
    bar = _bar(body, asked, settings)
    if bar is not None:
        return Decision(read=False, write=False, ttl=ttl, namespace=asked.namespace, reason=bar)
    read, write, reason = not asked.no_cache, not asked.no_store, "cacheable"
    if body.get("stream") and _offers_tools(body):
        # Engines' streaming tool parsers do not always say what their whole-answer parsers say (vLLM: null content beside calls, raw
        # text before them). What was kept of a JSON answer may be streamed; what was streamed is not kept.
        write, reason = False, "streamed_tools"
    if not read and not write:
        reason = "asked"
    return Decision(read=read, write=write, ttl=ttl, namespace=asked.namespace, reason=reason, max_age=asked.max_age)


def _bar(body: Mapping[str, Any], asked: Controls, settings: Cache) -> str | None:
    """Why this request's answer can be neither read nor kept, or None."""
    if not settings.enabled:
        return "off"
    n = body.get("n")
    if n is not None and (type(n) is not int or n != 1):
        return "choices"
    if any(body[name] is not None and body[name] is not False for name in NOT_FOLDED & body.keys()):
        return "not_folded"
    if asked.use or settings.when == "always":
        return None
    return "sampled" if _is_sampled(body, settings) else None


def _is_sampled(body: Mapping[str, Any], settings: Cache) -> bool:
    """Whether asking again may give another answer, as far as `cache.when` cares."""
    temperature, seed = body.get("temperature"), body.get("seed")
    if type(seed) is int:
        return False
    if temperature is None:
        return settings.when == "deterministic"
    return type(temperature) not in {int, float} or temperature != 0


def _offers_tools(body: Mapping[str, Any]) -> bool:
    return bool(body.get("tools")) and body.get("tool_choice") != "none"
