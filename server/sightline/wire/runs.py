"""The base64 of pictures that came more than once: the same run of bytes again is known by comparing it, at an eighth of a digest's cost.

To decode a picture of 100 kB and take its digest costs 40 µs, to compare it with the one that came last time 5 (measured). A run is looked
for by its length and a few of its bytes, and counts as the same only when all of its bytes are: nothing rests on the sample. Runs are kept
from their second coming on, so that pictures which come once cost no memory.
"""

from collections import OrderedDict
from typing import Any

_SAMPLE = 32  # bytes in the middle and at the end: files of one kind begin alike
_OVERHEAD = 600  # bytes of objects round a run, with what is noted of it
_SEEN = 16_384  # samples of runs that came once


class Run:
    """Bytes that came again. `notes` is where whoever works on them leaves what he found out about them, for the next time."""

    __slots__ = ("data", "notes")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.notes: dict[Any, Any] = {}


class Runs:
    """Holds at most `room` bytes; the run that came the longest time ago leaves first."""

    def __init__(self, room: int) -> None:
        self._left = room
        self._runs: OrderedDict[tuple[int, bytes, bytes], Run] = OrderedDict()
        self._seen: OrderedDict[tuple[int, bytes, bytes], None] = OrderedDict()

    def find(self, data: bytes | bytearray, start: int, end: int) -> Run | None:
        """The run whose bytes are `data[start:end]`; None when they have not come before."""
        middle = (start + end) // 2
        sample = end - start, bytes(data[middle : middle + _SAMPLE]), bytes(data[end - _SAMPLE : end])
        run = self._runs.get(sample)
        if run is not None:
            if not data.startswith(run.data, start):
                return None  # another with the same sample: it is read as if it came for the first time
            self._runs.move_to_end(sample)
            return run
        if sample not in self._seen:
            self._seen[sample] = None
            if len(self._seen) > _SEEN:
                self._seen.popitem(last=False)
            return None
        del self._seen[sample]
        if data.find(b"\\", start, end) >= 0:
            return None  # an escape: what stands there is not what it says. Runs that are kept have none.
        run = self._runs[sample] = Run(bytes(data[start:end]))
        self._left -= end - start + _OVERHEAD
        while self._left < 0:
            _, oldest = self._runs.popitem(last=False)
            self._left += len(oldest.data) + _OVERHEAD
        return run
