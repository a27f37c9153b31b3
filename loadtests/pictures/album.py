"""Pictures for load: a few of each kind, drawn once and kept in a folder, and of each as many that nobody ever sent as are wanted.

Drawing a photo takes seconds, which a load generator has not. So a drawn file is changed where each change gives other pixels: a JPEG's
low-frequency quantisation entries, a PNG's commonest palette colours. What is shown stays what it was; its identity does not.
Plates (224 × 112, the demo model's) are drawn anew each time: that takes two milliseconds.
"""

import base64
import hashlib
import io
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from random import Random

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy/engine/demo-model"))
import plates
from loadtests.pictures import samples

Draw = Callable[[int, int, int], Image.Image]  # width, height, seed


def _part(width: int, height: int, seed: int) -> Image.Image:
    """A workpiece under the inspection camera: a plate on metal."""
    scale = max(0.5, width / 3 / plates.WIDTH)
    return plates.on_canvas(plates.plate(plates.FRESH + seed).picture, Random(seed), size=(width, height), scale=scale)[0]


@dataclass(frozen=True, slots=True)
class Kind:
    draw: Draw
    width: int
    height: int
    form: str
    pages: int = 4


KINDS: Mapping[str, Kind] = {
    "product": Kind(samples.photo, 1024, 768, "JPEG"),
    "phone": Kind(samples.photo, 4000, 3000, "JPEG", pages=2),
    "part": Kind(_part, 1024, 768, "JPEG"),
    "screenshot": Kind(samples.screenshot, 1920, 1080, "PNG"),
    "table": Kind(samples.table, 1240, 1000, "PNG"),
    "chart": Kind(samples.chart, 1280, 800, "PNG"),
}
PLATE = "plate"

# Two quantisation tables, at bytes 20 and 89 of the file, 64 entries each in zigzag order after a head of five bytes. Entries 1 to 9 are
# left when a decoder shrinks a photo by half while it decodes (libjpeg's `draft`), so each of the 18 bits shows in every size.
_TABLES = (20, 89)
_ENTRIES = tuple(table + 5 + entry for table in _TABLES for entry in range(1, 10))
_PALETTE = 33  # Pillow writes PLTE right behind IHDR


@dataclass(frozen=True, slots=True)
class Page:
    """A drawn file as base64, but for the bytes in which its variants differ."""

    head: str
    region: bytes
    tail: str
    form: str
    places: tuple[int, ...]  # within the region: what one variant has more (or less) of than another
    bits: int  # of the variant's number, in each place

    @classmethod
    def of(cls, data: bytes, form: str) -> "Page":
        begin, end, places, bits = _jpeg(data) if form == "JPEG" else _png(data)
        begin, end = begin // 3 * 3, -(-end // 3) * 3  # three bytes are four characters of base64
        parts = (base64.b64encode(data[:begin]).decode(), data[begin:end], base64.b64encode(data[end:]).decode())
        return cls(*parts, form, tuple(place - begin for place in places), bits)

    @property
    def variants(self) -> int:
        return 1 << self.bits * len(self.places)

    def uri(self, variant: int) -> str:
        region, most = bytearray(self.region), (1 << self.bits) - 1
        for number, place in enumerate(self.places):
            step = variant >> self.bits * number & most
            region[place] += step if region[place] + most < 256 else -step
        if self.form == "PNG":
            at = region.index(b"PLTE")
            after = at + 4 + int.from_bytes(region[at - 4 : at], "big")
            region[after : after + 4] = zlib.crc32(region[at:after]).to_bytes(4, "big")
        return f"data:image/{self.form.lower()};base64,{self.head}{base64.b64encode(region).decode()}{self.tail}"


def _jpeg(data: bytes) -> tuple[int, int, tuple[int, ...], int]:
    if any(data[table : table + 5] not in (b"\xff\xdb\x00\x43\x00", b"\xff\xdb\x00\x43\x01") for table in _TABLES):
        raise ValueError("the quantisation tables are not where they are changed")
    return _TABLES[0], _ENTRIES[-1] + 1, _ENTRIES, 1


def _png(data: bytes) -> tuple[int, int, tuple[int, ...], int]:
    """The four commonest colours, two bits of each channel."""
    if data[_PALETTE + 4 : _PALETTE + 8] != b"PLTE":
        raise ValueError("the palette is not where it is changed")
    counted = Image.open(io.BytesIO(data)).getcolors() or []
    commonest = [colour for _, colour in sorted(counted, key=itemgetter(0), reverse=True)[:4]]
    places = tuple(_PALETTE + 8 + 3 * int(str(colour)) + channel for colour in commonest for channel in range(3))
    return _PALETTE, _PALETTE + 12 + int.from_bytes(data[_PALETTE : _PALETTE + 4], "big"), places, 2


class Album:
    """`start` is where the numbers of unseen pictures begin: two runs, or two workers of one, that begin elsewhere share none."""

    def __init__(self, pages: Mapping[str, tuple[Page, ...]], start: int = 0) -> None:
        self._pages = pages
        self._next = Counter(dict.fromkeys((*pages, PLATE), start))

    def unseen(self, kind: str) -> int:
        """The number of a picture of that kind that this album has not given out before."""
        self._next[kind] += 1
        return self._next[kind]

    def uri(self, kind: str, number: int) -> str:
        """The picture of that number as a data URI, always the same."""
        if kind == PLATE:
            file = samples.encode(plates.plate(plates.FRESH + number).picture, "PNG")
            return f"data:image/png;base64,{base64.b64encode(file).decode()}"
        pages = self._pages[kind]
        page = pages[number % len(pages)]
        return page.uri(number // len(pages) % page.variants)


def drawn(folder: Path, longest_side: int = 4096) -> dict[str, tuple[Page, ...]]:
    """All kinds, none of them larger than that; drawn at the first time (15 seconds), read from `folder` afterwards."""
    if longest_side < 256:
        raise ValueError("pictures for load are 256 pixels wide or more")
    sources = b"".join(Path(module).read_bytes() for module in (__file__, samples.__file__, plates.__file__))
    folder = folder / f"{hashlib.blake2s(sources).hexdigest()[:12]}-{longest_side}"
    folder.mkdir(parents=True, exist_ok=True)
    return {
        name: tuple(Page.of(_file(folder, name, kind, seed, longest_side), kind.form) for seed in range(kind.pages))
        for name, kind in KINDS.items()
    }


def _file(folder: Path, name: str, kind: Kind, seed: int, longest_side: int) -> bytes:
    file = folder / f"{name}-{seed}.{kind.form.lower()}"
    if not file.exists():
        shrink = min(1.0, longest_side / max(kind.width, kind.height))
        picture = kind.draw(round(kind.width * shrink), round(kind.height * shrink), seed + 1)
        data = samples.encode(picture, "JPEG", quality=80) if kind.form == "JPEG" else samples.encode(picture.quantize(64), "PNG")
        unfinished = file.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(data)
        unfinished.rename(file)  # two workers may draw at once
    return file.read_bytes()
