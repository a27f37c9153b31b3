"""Shared engine calls: identical requests that are under way together are one flight, and each client has a ride on it.

A flight runs in a task of its own and asks in the mode of its first rider; every ride begins at its start. A JSON rider on a streamed
flight gets the fold, a streaming rider on a JSON flight its expansion; where that cannot be done exactly, the riders of the other mode
share a second flight in their own mode.

- The last rider to leave takes the flight off the board *before* cancelling it: a newcomer starts another, however slowly it closes.
- A whole answer is kept (`landed`) before anybody hears of its end: who asks again either boards or hits. Whose look-up had left before
  that and came back after the end boards what has just landed: the store has told him of no answer, and there is one.
- A flight that fails is off the board at once. Riders who have seen nothing of it get its exception, others after what there was.
- A flight whose log has outgrown its bound (see `flight`) cannot be boarded any more.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from math import inf
from typing import Protocol

import msgspec
import structlog

from sightline.answers.flight import Flight, Place
from sightline.errors import EngineError, Unavailable
from sightline.wire.folding import NotExpandable, told
from sightline.wire.reply import UNREADABLE, Reply, Sink, Whole

LINGER = 0.25  # seconds beyond the longest look-up, in which its asker gets his turn
LIGHT = 64 * 2**10  # bytes of an answer up to which it is at hand for so long

Call = Callable[[], Awaitable[Reply]]
Landed = Callable[[bytes], bool]


class Lease(Protocol):
    """Leave to ask the engine, where several gateways share a store (see `leases`). Neither call raises but for cancellation."""

    async def take(self) -> Whole | None:
        """None when this flight is to ask the engine, or the answer that another gateway's call gave meanwhile."""
        ...

    async def give_back(self, *, barren: bool) -> None:
        """`barren`: the engine was asked and gave nothing that could be kept."""
        ...


class Flights:
    """All engine calls that are shared or kept; owns their tasks until `close`.

    Bounds in bytes, see `flight`. `longest_look` is how many seconds a look-up in the store may take, by `clock`.
    """

    def __init__(
        self, *, log_bytes: int, keep_bytes: int, longest_look: float = 1.0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._log_bytes = log_bytes
        self._keep_bytes = keep_bytes
        self._linger = longest_look + LINGER
        self._clock = clock
        self._board: dict[str, Flight] = {}
        self._landed: OrderedDict[str, tuple[float, Flight]] = OrderedDict()  # a moment ago, and when
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        """Flights that can be boarded now."""
        return len(self._board)

    def board(
        self,
        key: str | None,
        *,
        stream: bool,
        call: Call,
        landed: Landed | None = None,
        lease: Lease | None = None,
        looked: float = inf,
    ) -> "Ride":
        """A place on the flight `key`, or on a new one that asks with `call` (in the mode `stream`); with key None always a new one.

        `looked` is when the look-up left that found nothing, by `clock`. `landed` keeps the whole answer and tells whether it did; it and
        `lease` are those of the rider who starts the flight. Nothing is awaited here: `Ride.reply` waits. Raises Unavailable after `close`.
        """
        if self._closed:
            raise _shutting_down()
        flight = self._find(key, looked) if key is not None else None
        joined = flight is not None and flight.can_be_boarded
        if flight is None or not joined:
            flight = self._start(key, stream=stream, call=call, landed=landed, lease=lease)
        return Ride(self, flight, stream=stream, call=call, landed=landed, joined=joined)

    async def close(self) -> None:
        """Ends all flights and waits until their engine calls are closed. Those who are still aboard get Unavailable."""
        self._closed = True
        self._board.clear()
        self._landed.clear()
        tasks = list(self._tasks)
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def leave(self, flight: Flight, place: Place) -> None:
        """Gives `place` up. The last one ends the flight."""
        flight.places.discard(place)
        if flight.places or flight.ended or flight.task is None:
            return
        self._forget(flight)
        flight.task.cancel()

    def _find(self, key: str, looked: float) -> Flight | None:
        """The flight to board: one under way, or one that has landed since the look-up left."""
        if (flight := self._board.get(key)) is not None:
            return flight
        at, flight = self._landed.get(key, (0.0, None))
        return flight if looked < at else None

    def _start(self, key: str | None, *, stream: bool, call: Call, landed: Landed | None, lease: Lease | None) -> Flight:
        flight = Flight(key, stream=stream, log_bytes=self._log_bytes, keep_bytes=self._keep_bytes)
        if key is not None:
            self._board[key] = flight
        flight.task = task = asyncio.create_task(self._fly(flight, call, landed, lease))
        self._tasks.add(task)

        def over(task: asyncio.Task[None]) -> None:
            # A task that is cancelled before its first step runs none of its code; this runs all the same.
            self._tasks.discard(task)
            if not flight.ended:
                self._forget(flight)
                flight.end(_shutting_down())

        task.add_done_callback(over)
        return flight

    def _forget(self, flight: Flight) -> None:
        if flight.key is not None and self._board.get(flight.key) is flight:
            del self._board[flight.key]

    def _note_landing(self, flight: Flight) -> None:
        if flight.key is None or flight.error is not None or flight.held > LIGHT:
            return
        now = self._clock()
        self._landed[flight.key] = now, flight
        self._landed.move_to_end(flight.key)
        while next(iter(self._landed.values()))[0] < now - self._linger:
            self._landed.popitem(last=False)

    async def _fly(self, flight: Flight, call: Call, landed: Landed | None, lease: Lease | None) -> None:
        barren = False
        try:
            try:
                await _ask(flight, call, lease)
                if not flight.borrowed:
                    barren = not (landed is not None and flight.completion is not None and _land(flight.completion, landed))
            except Exception as error:  # noqa: BLE001  whatever it is, it is the riders' to raise
                barren = True
                self._forget(flight)
                flight.end(error)
            except asyncio.CancelledError:
                flight.end(_shutting_down())
                raise
            self._forget(flight)
            self._note_landing(flight)
            flight.end()
        finally:
            if lease is not None:
                await lease.give_back(barren=barren)


class Ride:
    """One client's place on a flight. As a stream it is the flight's events from their start.

    Whoever boards awaits `reply` once, and closes the stream it may give: the place is given up by then at the latest, and at once when
    anything is raised.
    """

    def __init__(self, flights: Flights, flight: Flight, *, stream: bool, call: Call, landed: Landed | None, joined: bool) -> None:
        self._flights = flights
        self._flight = flight
        self._stream = stream
        self._call = call
        self._landed = landed
        self._joined = joined
        self._place = Place(0 if stream else None)
        flight.places.add(self._place)

    @property
    def coalesced(self) -> bool:
        """Whether the answer is of a call that another request made. Settled when `reply` has returned."""
        return self._joined or self._flight.borrowed

    @property
    def goes_on(self) -> bool:
        """Whether leaving does not end the engine call that this ride began: it has answered already, or others are aboard."""
        others = not self._flight.ended and bool(self._flight.places - {self._place})
        return not self.coalesced and (self._flight.answered or others)

    async def reply(self) -> Reply:
        """The whole answer, or the stream once its first events are there; raises what the flight failed with before that."""
        try:
            if not self._stream:
                completion = await self._flight.whole()
                self.leave()
                return Whole(completion) if completion is not None else await self._change_flight()
            await self._flight.first()
            if self._flight.begun or self._flight.completion is None:
                return self
            completion = self._flight.completion
            self.leave()
            stamp = _stamp.decode(completion)
            return told(completion, id=stamp.id, created=stamp.created)
        except (NotExpandable, *UNREADABLE):
            return await self._change_flight()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Gives the place up; may be called again."""
        self._flights.leave(self._flight, self._place)

    async def pour(self, into: Sink) -> None:
        try:
            await self._flight.follow(self._place, into)
        finally:
            self.leave()

    async def aclose(self) -> None:
        self.leave()

    async def _change_flight(self) -> Reply:
        """What flew in the other mode cannot be told exactly in this one: shares a flight in this one with those who need it too."""
        if self._flight.stream == self._stream:
            raise EngineError("The engine's answer is not one that can be passed on.", should_retry=False)
        key = self._flight.key and f"{self._flight.key}:{'stream' if self._stream else 'json'}"
        ride = self._flights.board(key, stream=self._stream, call=self._call, landed=self._landed)
        self._joined = ride.coalesced
        return await ride.reply()


class _Stamp(msgspec.Struct):
    id: str
    created: int


_stamp = msgspec.json.Decoder(_Stamp)


async def _ask(flight: Flight, call: Call, lease: Lease | None) -> None:
    borrowed = await lease.take() if lease is not None else None
    flight.borrowed = borrowed is not None
    reply = borrowed or await call()
    if isinstance(reply, Whole):
        flight.completion = reply.body
    else:
        await flight.read(reply)


def _land(completion: bytes, landed: Landed) -> bool:
    try:
        return landed(completion)
    except Exception:  # noqa: BLE001  an answer that could not be kept is an answer all the same
        structlog.get_logger(__name__).exception("answer.not_kept")
        return False


def _shutting_down() -> Unavailable:
    return Unavailable("The gateway is shutting down. Try again.", retry_after=1)
