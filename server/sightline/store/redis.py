"""Answers kept in Redis: short time limits, no retries, a breaker, and every failure converted to `StoreError` in one place.

Redis is a help, never a need: what fails is counted, logged once a minute, and the request goes on without it. While the breaker is
open nobody waits: one background trial at a time looks for Redis until it is back.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from hashlib import sha1
from importlib import resources
from typing import Any, Protocol

import hiredis
import structlog

from sightline.breaker import Breaker, State
from sightline.store.base import Stats, StoreError, StoreUnavailable
from sightline.store.connection import Command, Failed, Reply
from sightline.telemetry.metrics import Metrics

BATCH = 500  # members or keys handled in one round trip by `forget` and `purge`
LOG_SECONDS = 60.0
LONGEST_DELAY = 3.5  # seconds between trials; with one that hangs for its whole second, Redis is found within five of its return

# Replies by which a server says that it serves nobody now. Others ("OOM", "MISCONF", "READONLY") refuse one command and no more:
# look-ups still work while it cannot write.
OUT_OF_SERVICE = frozenset({"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOAUTH", "WRONGPASS"})
WRONG_TYPE = frozenset({"WRONGTYPE"})
NO_SCRIPT = frozenset({"NOSCRIPT"})


class Link(Protocol):
    """The way to Redis: `server.Server` or `cluster.Cluster`. `call` raises OSError; error replies come as values."""

    @property
    def one_slot(self) -> bool: ...
    async def call(self, commands: Sequence[Command]) -> list[Reply]: ...
    def post(self, sha: str, script: bytes, rest: Command, failed: Failed) -> bool: ...
    def dial(self) -> Awaitable[object]: ...
    def scan(self, match: str) -> AsyncIterator[list[bytes]]: ...
    async def each(self, command: Command) -> list[Reply]: ...
    def renew(self) -> None: ...
    def drop(self) -> None: ...
    async def close(self) -> None: ...


class Script:
    """A Lua script by its name in `scripts/`: asked for by digest, sent whole only when the server has forgotten it."""

    def __init__(self, name: str) -> None:
        self.body = resources.files("sightline.store").joinpath("scripts", f"{name}.lua").read_bytes()
        self.sha = sha1(self.body, usedforsecurity=False).hexdigest()


class RedisStore:
    """`largest`: most bytes of a value; a longer one found in Redis is not ours and never fetched whole."""

    def __init__(
        self,
        link: Link,
        metrics: Metrics,
        *,
        largest: int,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
        log: Any = None,
    ) -> None:
        self._link = link
        self._largest = largest
        self._breaker = breaker or Breaker(longest_delay=LONGEST_DELAY)
        self._clock = clock
        self._log = log or structlog.get_logger("sightline.store")
        self._errors = metrics.backend_errors
        self._state = metrics.backend_breaker.labels("redis")
        self._state.set(State.CLOSED)
        self._healing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._logged_at = float("-inf")
        self._unlogged = 0
        self._put, self._forget, self._acquire, self._release = (Script(name) for name in ("put", "forget", "acquire", "release"))

    @property
    def one_slot(self) -> bool:
        """Whether a script may touch any keys together: not in a Cluster."""
        return self._link.one_slot

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        # GETRANGE, since it never brings more than is asked for, whatever lies there.
        replies = await self._ask("get", [("GETRANGE", key, 0, self._largest) for key in keys], WRONG_TYPE)
        values = [self._value(reply) for reply in replies]
        foreign = [key for key, reply, value in zip(keys, replies, values, strict=True) if value is None and reply != b""]
        if foreign:
            self._errors.labels("redis", "get").inc(len(foreign))
            with contextlib.suppress(StoreError):
                await self.delete(foreign)
        return values

    async def put(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        if not 0 < len(value) <= self._largest:
            raise StoreError("put", "the value is empty or too long")
        lifetime = _milliseconds(ttl)
        if groups and self._link.one_slot:
            await self.evaluate("put", self._put, [*groups, key], [key, lifetime, value])
            return
        # Groups and value lie on different servers. A `forget` that falls between the first and the second step may take the
        # membership out again; the third puts it back, so that the next `forget` finds the value.
        await self._enrol(key, lifetime, groups)
        await self._ask("put", [("SET", key, value, "PX", lifetime)])
        await self._enrol(key, lifetime, groups)

    def post(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        if not self._link.one_slot or not 0 < len(value) <= self._largest:
            self._spawn(self.put(key, value, ttl, groups))
        else:
            self.send("put", self._put, [*groups, key], [key, _milliseconds(ttl), value])

    async def delete(self, keys: Sequence[str]) -> int:
        return sum(await self._ask("delete", [("UNLINK", key) for key in keys])) if keys else 0

    async def forget(self, group: str) -> int:
        """Batch after batch; a member leaves the group only after its value has gone, so an interrupted `forget` can be repeated."""
        [newest] = await self._ask("forget", [("ZRANGE", group, -1, -1, "WITHSCORES")], WRONG_TYPE)
        if isinstance(newest, hiredis.ReplyError):
            await self.delete([group])
            return 0
        forgotten = 0
        while newest:
            page: Command = ("ZRANGEBYSCORE", group, "-inf", newest[1], "WITHSCORES", "LIMIT", 0, BATCH)
            [found] = await self._ask("forget", [page])
            if not found:
                break
            forgotten += sum(await self._ask("forget", [("UNLINK", member) for member in found[::2]]))
            await self.evaluate("forget", self._forget, [group], found)
        return forgotten

    async def acquire(self, key: str, owner: str, ttl: float) -> bool:
        return bool(await self.evaluate("acquire", self._acquire, [key], [owner, _milliseconds(ttl)]))

    async def release(self, key: str, owner: str) -> None:
        await self.evaluate("release", self._release, [key], [owner])

    async def evaluate(self, operation: str, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Reply:
        """Runs `script` in one round trip (two when the server has forgotten it)."""
        [reply] = await self._ask(operation, [("EVALSHA", script.sha, len(keys), *keys, *args)], NO_SCRIPT)
        if isinstance(reply, hiredis.ReplyError):
            [reply] = await self._ask(operation, [("EVAL", script.body, len(keys), *keys, *args)])
        return reply

    def send(self, operation: str, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> None:
        """`evaluate` for nobody who waits: it leaves with the next command, is carried out before it, and its failure is only counted."""
        if self._breaker.state is not State.CLOSED:
            return
        failed = partial(self._not_sent, operation, script, keys, args)
        try:
            sent = self._link.post(script.sha, script.body, (len(keys), *keys, *args), failed)
        except OSError as error:
            failed(error)
            return
        if not sent:  # there is no connection yet
            self._spawn(self.evaluate(operation, script, keys, args))

    def _not_sent(self, operation: str, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int], error: Exception) -> None:
        if not isinstance(error, hiredis.ReplyError):
            self._failed()
            self._told(operation, type(error).__name__)
            return
        with contextlib.suppress(StoreError):  # which has been counted
            self._checked(operation, [error], NO_SCRIPT)
            self._spawn(self.evaluate(operation, script, keys, args))  # the server has forgotten the script

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        async def unheard() -> None:
            with contextlib.suppress(StoreError):
                await work

        task = asyncio.get_running_loop().create_task(unheard())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stats(self) -> Stats:
        fields = {"keys": 0, "used_memory": 0, "keyspace_hits": 0, "keyspace_misses": 0}
        fields["keys"] = sum(await self._each("DBSIZE"))
        for text in await self._each("INFO", "everything"):
            for line in text.decode().splitlines():
                name, _, number = line.partition(":")
                if name in fields:
                    fields[name] += int(number)
        return Stats(fields["keys"], fields["used_memory"], fields["keyspace_hits"], fields["keyspace_misses"])

    async def _each(self, *command: str) -> list[Reply]:
        found: list[Reply] = self._checked("stats", await self._guard("stats", lambda: self._link.each(command)), frozenset())
        return found

    async def purge(self, match: str) -> int:
        removed = 0
        pages = self._link.scan(match)
        while (page := await self._guard("purge", lambda: anext(pages, None))) is not None:
            if page:
                removed += sum(await self._ask("purge", [("UNLINK", key) for key in page]))
        return removed

    async def close(self) -> None:
        healing, self._healing = self._healing, None
        if healing is not None:
            healing.cancel()
            await asyncio.wait([healing])
        if self._tasks:
            await asyncio.wait(self._tasks)
        with contextlib.suppress(StoreError):
            await self._ask("close", [("GETRANGE", "sightline:trial", 0, 0)])  # what was sent before it has been carried out
        await self._link.close()

    async def _enrol(self, key: str, lifetime: int, groups: Sequence[str]) -> None:
        for group in groups:
            await self.evaluate("put", self._put, [group], [key, lifetime])

    def _value(self, reply: Reply) -> bytes | None:
        """A value that we may have stored; an absent key reads as empty."""
        return reply if isinstance(reply, bytes) and 0 < len(reply) <= self._largest else None

    async def _ask(self, operation: str, commands: Sequence[Command], tolerated: frozenset[str] = frozenset()) -> list[Reply]:
        replies = await self._guard(operation, lambda: self._link.call(commands))
        checked: list[Reply] = self._checked(operation, replies, tolerated)
        return checked

    async def _guard(self, operation: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What `ask` gives. Here the breaker speaks, and here an unreachable Redis becomes a StoreError."""
        if self._breaker.state is not State.CLOSED:
            raise StoreUnavailable(operation, "not tried: Redis has failed repeatedly")
        try:
            replies = await ask()
        except OSError as error:
            self._failed()
            raise self._told(operation, type(error).__name__) from None
        return replies

    def _checked(self, operation: str, replies: Any, tolerated: frozenset[str]) -> Any:
        """`replies`, if none of them is an error but for those `tolerated`."""
        for reply in replies or ():
            if isinstance(reply, hiredis.ReplyError) and (code := _code(reply)) not in tolerated:
                if code in OUT_OF_SERVICE:
                    self._failed()
                elif code == "READONLY":
                    self._link.renew()  # the primary may have moved without closing our connection
                raise self._told(operation, code)
        self._breaker.succeeded()
        return replies

    def _failed(self) -> None:
        self._breaker.failed(self._clock())
        if self._breaker.state is State.OPEN and self._healing is None:
            self._state.set(State.OPEN)
            self._link.drop()  # whoever still waits on it is told at once
            self._healing = asyncio.get_running_loop().create_task(self._heal(), name="redis healing")

    async def _heal(self) -> None:
        """One trial at a time until Redis answers a look-up; requests never pay for one."""
        while True:
            await asyncio.sleep(max(0.0, self._breaker.retry_at - self._clock()))
            if not self._breaker.allows(self._clock()):
                continue
            self._state.set(State.HALF_OPEN)
            try:
                await self._link.dial()
                [reply] = await self._link.call([("GETRANGE", "sightline:trial", 0, 0)])
                if isinstance(reply, hiredis.ReplyError) and _code(reply) in OUT_OF_SERVICE:
                    raise ConnectionError(_code(reply))
            except OSError as error:
                self._breaker.failed(self._clock())
                self._state.set(State.OPEN)
                self._link.drop()
                self._told("heal", type(error).__name__)
            else:
                self._breaker.succeeded()
                self._state.set(State.CLOSED)
                self._healing = None
                self._log.info("store.healed", backend="redis")
                return

    def _told(self, operation: str, reason: str) -> StoreError:
        """The error, counted and, once a minute, logged. `reason` is a name or a code: never text that may hold keys or values."""
        self._errors.labels("redis", operation).inc()
        now = self._clock()
        if now - self._logged_at >= LOG_SECONDS:
            self._log.warning("store.failed", backend="redis", operation=operation, reason=reason, unlogged=self._unlogged)
            self._logged_at = now
            self._unlogged = 0
        else:
            self._unlogged += 1
        return StoreError(operation, reason)


def _code(reply: hiredis.ReplyError) -> str:
    """The first word of an error reply, and nothing of the rest."""
    return str(reply).partition(" ")[0]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
