"""What a limit said about a request, rendered as OpenAI renders it: headers on every answer, and the 429 that explains itself."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from sightline.errors import LONGEST_RETRY_AFTER, RateLimited
from sightline.limits.gcra import Decision
from sightline.limits.quotas import Charge, Kind, Slot, Taken

SLOT_WAIT = 1.0  # seconds after which a place may have come free; nobody knows
KINDS: tuple[Kind, ...] = ("requests", "tokens", "images")
NAMES = {kind: tuple(f"x-ratelimit-{what}-{kind}".encode() for what in ("limit", "remaining", "reset")) for kind in KINDS}
_LINES = {kind: b"%b: %%d\r\n%b: %%d\r\n%b: %%b\r\n" % NAMES[kind] for kind in KINDS}

Headers = tuple[tuple[bytes, bytes], ...]


class Verdict(msgspec.Struct, frozen=True):
    """The outcome for each limit of one request, the caller's own and his tenant's."""

    taken: Taken

    def headers(self, later: float = 0.0) -> Headers:
        """`x-ratelimit-…` for requests, tokens and images, `later` seconds on; of several limits on one, the one with least left."""
        headers: list[tuple[bytes, bytes]] = []
        for kind, charge, decision in self._tightest():
            limit, remaining, reset = NAMES[kind]
            headers += [
                (limit, b"%d" % charge.rate.limit),
                (remaining, b"%d" % decision.remaining),
                (reset, go_duration(decision.reset - later)),
            ]
        return tuple(headers)

    def lines(self) -> bytes:
        """The same as header lines, for an answer."""
        return b"".join(
            [
                _LINES[kind] % (charge.rate.limit, decision.remaining, go_duration(decision.reset))
                for kind, charge, decision in self._tightest()
            ]
        )

    def _tightest(self) -> Iterable[tuple[Kind, Charge, Decision]]:
        """For each kind the limit that has least left."""
        found: dict[Kind, tuple[Kind, Charge, Decision]] = {}
        for charge, decision in zip(self.taken.order.charges, self.taken.decisions, strict=True):
            kind = charge.kind
            known = found.get(kind)
            if known is None or decision.remaining < known[2].remaining:
                found[kind] = kind, charge, decision
        return found.values()

    def refusal(self, later: float = 0.0) -> RateLimited | None:
        """The error when something was refused, `later` seconds on: of several reasons the one that takes longest to pass."""
        if self.taken.admitted:
            return None
        refused = [pair for pair in zip(self.taken.order.charges, self.taken.decisions, strict=True) if not pair[1].admitted]
        error = _rate_refusal(refused, later) if refused else _slot_refusal(self.taken.order.slots, self.taken.held)
        error.headers = self.headers(later)
        return error

    def refused_kind(self) -> Kind | Literal["concurrency"]:
        """What a refusal was about, for the metric."""
        pairs = zip(self.taken.order.charges, self.taken.decisions, strict=True)
        return next((charge.kind for charge, decision in pairs if not decision.admitted), "concurrency")


def _rate_refusal(refused: Sequence[tuple[Charge, Decision]], later: float) -> RateLimited:
    charge, decision = max(refused, key=lambda pair: pair[1].retry_after)
    of = "day" if charge.rate.whole else "minute"
    limit = f"{charge.rate.limit} {charge.kind} a {of} for this {charge.whose}"
    if math.isinf(decision.retry_after):
        advice = "Ask for less at once." if charge.rate.limit else "Ask the operator for another limit."
        return RateLimited(
            f"Request too large: it needs {charge.cost} {charge.kind}, and the limit is {limit}. {advice}",
            retry_after=LONGEST_RETRY_AFTER,
            should_retry=False,
        )
    wait = max(0.001, decision.retry_after - later)
    return RateLimited(
        f"Rate limit reached: {limit}, {decision.remaining} left, {charge.cost} needed. Try again in {go_duration(wait).decode()}.",
        retry_after=min(wait, LONGEST_RETRY_AFTER),
        should_retry=False if charge.rate.whole else None,
    )


def _slot_refusal(slots: Sequence[Slot], held: Sequence[int]) -> RateLimited:
    slot = next(slot for slot, count in zip(slots, held, strict=True) if count >= slot.limit)
    return RateLimited(
        f"Too many requests at once: the limit is {slot.limit} under way for this {slot.whose}. Try again when one has finished.",
        code="concurrency_limit_exceeded",
        retry_after=SLOT_WAIT,
        should_retry=None if slot.limit else False,
    )


def go_duration(seconds: float) -> bytes:
    """`250ms`, `1s`, `1.5s`, `6m0s`, `1h0m0s`: as Go prints a duration, rounded up to milliseconds. What never comes is a day."""
    total = math.ceil(min(max(seconds, 0.0), 86_400.0) * 1000 - 1e-6)
    if total < 1000:
        return b"%dms" % total if total else b"0s"
    minutes, ms = divmod(total, 60_000)
    text = b"%ds" % (ms // 1000) if not ms % 1000 else f"{ms / 1000:.3f}".rstrip("0").encode() + b"s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (b"%dh%dm%b" % (hours, minutes, text)) if hours else b"%dm%b" % (minutes, text)
    return text
