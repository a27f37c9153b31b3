"""The byte layouts of JPEG, PNG, WebP and GIF, as far as they are needed before and beside decoding.

Each reader walks over lengths only, in a bounded number of steps, and never inflates anything: a hostile file costs microseconds, a
20 MB one of tiny chunks a few milliseconds. They are our own because a decoder's "lazy open" is not lazy enough: Pillow's inflates
profiles and text chunks, and allocates WebP's whole canvas.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Format = Literal["jpeg", "png", "webp", "gif"]

# Real files have a few dozen pieces; a 20 MB PNG in libpng's 8 KB steps has 2 500.
MOST_PIECES = 8192
# Working-space profiles have 0.5 to 3 kB, printers' ones up to 2 MB.
MOST_PROFILE_BYTES = 4 * 2**20
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Broken(Exception):
    """The file contradicts its own format."""


@dataclass(frozen=True, slots=True)
class Header:
    """`width` and `height` are in pixels as stored; `upright` has them after the EXIF orientation (1 to 8) is applied."""

    format: Format
    width: int
    height: int
    orientation: int = 1
    lossless: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    @property
    def pixels(self) -> int:
        return self.width * self.height


def read_header(kind: Format, data: bytes) -> Header:
    """Size and orientation; raises Broken."""
    try:
        return _READERS[kind](data)
    except (struct.error, IndexError):
        raise Broken from None


def is_plain(data: bytes, header: Header) -> bool:
    """Whether the file is one upright still picture and nothing else: no metadata, no second frame, no tail."""
    try:
        return header.orientation == 1 and header.format != "gif" and _PLAIN[header.format](data)
    except (Broken, struct.error, IndexError):
        return False


def essence(data: bytes, header: Header) -> bytes:
    """What a decoder needs of `data`, so that no text bomb, animation or tail of a PNG ever reaches it; raises Broken."""
    try:
        return _essence_of_png(data) if header.format == "png" and not _plain_png(data) else data
    except struct.error:
        raise Broken from None


def colour_profile(data: bytes, header: Header) -> bytes | None:
    """The embedded ICC profile; None where there is none, or one of a size that no honest profile has."""
    try:
        found = _PROFILES[header.format](data) if header.format in _PROFILES else None
    except (Broken, struct.error, IndexError):
        return None
    return found if found and len(found) <= MOST_PROFILE_BYTES else None


# JPEG (ITU-T T.81 Annex B): segments of marker and length up to the first scan.

_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class _Segment(NamedTuple):
    marker: int
    start: int  # of what follows the length
    end: int


def _segments(data: bytes) -> Iterator[_Segment]:
    at = 2
    for _ in range(MOST_PIECES):
        if data[at] != 0xFF:
            raise Broken
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            raise Broken
        yield _Segment(marker, at + 4, at + 2 + length)
        at += 2 + length
    raise Broken


def _read_jpeg(data: bytes) -> Header:
    orientation = 0
    for marker, start, end in _segments(data):
        if marker == 0xE1 and not orientation and data[start : start + 6] == b"Exif\x00\x00":
            orientation = _orientation(data[start + 6 : end])
        elif marker in _SOF:
            height, width = struct.unpack_from(">HH", data, start + 1)
            return _sized("jpeg", width, height, orientation or 1)
        elif marker in {0xDA, 0xD9}:
            break
    raise Broken


def _plain_jpeg(data: bytes) -> bool:
    """Tables, one frame, scans, end: no application segment but JFIF's own 16 bytes, no comment, nothing after the end."""
    at = -1
    for marker, start, end in _segments(data):
        if marker == 0xDA:
            at = end
            break
        if marker == 0xFE or (
            0xE0 <= marker <= 0xEF and not (marker == 0xE0 and end - start == 14 and data[start : start + 5] == b"JFIF\x00")
        ):
            return False
    while (found := _NEXT_MARKER.search(data, at)) is not None:
        at, marker = found.start(), data[found.start() + 1]
        if marker == 0xD9:
            return at + 2 == len(data)
        if marker not in {0xC4, 0xDA, 0xDB, 0xDD}:  # between scans: tables and the next scan's head
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


# PNG (W3C PNG, third edition, 5.3): chunks of length, type, content, CRC.

_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_HARMLESS = _PNG_PIXELS | {b"sRGB", b"gAMA", b"pHYs", b"sBIT"}  # a few numbers that do not change what is decoded


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of the content
    end: int  # of the content; a PNG chunk has four more bytes


def _chunks(data: bytes) -> Iterator[_Chunk]:
    at = len(PNG_SIGNATURE)
    for _ in range(MOST_PIECES):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise Broken
        yield _Chunk(name, at + 8, end)
        if name == b"IEND":
            return
        at = end + 4
    raise Broken


def _read_png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    if data[12:16] != b"IHDR":
        raise Broken
    orientation = 1
    for name, start, end in _chunks(data):
        if name == b"eXIf":
            orientation = _orientation(data[start:end])
    return _sized("png", width, height, orientation, lossless=True)


def _plain_png(data: bytes) -> bool:
    end = 0
    for chunk in _chunks(data):
        if chunk.name not in _PNG_HARMLESS:
            return False
        end = chunk.end
    return end + 4 == len(data)


def _essence_of_png(data: bytes) -> bytes:
    view = memoryview(data)
    return b"".join([PNG_SIGNATURE, *(view[start - 8 : end + 4] for name, start, end in _chunks(data) if name in _PNG_PIXELS)])


def _png_profile(data: bytes) -> bytes | None:
    for name, start, end in _chunks(data):
        if name == b"iCCP":
            compressed = data[start:end].partition(b"\x00")[2][1:]  # name, NUL, compression method
            try:
                return zlib.decompressobj().decompress(compressed, MOST_PROFILE_BYTES + 1)
            except zlib.error:
                return None
        if name == b"IDAT":
            return None
    return None


# WebP (RFC 9649): RIFF chunks of name, length, content, padded to even.


def _riff(data: bytes) -> Iterator[_Chunk]:
    at, stop = 12, min(len(data), int.from_bytes(data[4:8], "little") + 8)
    for _ in range(MOST_PIECES):
        if at + 8 > stop:
            return
        name, length = struct.unpack_from("<4sI", data, at)
        yield _Chunk(name, at + 8, at + 8 + length)
        at += 8 + length + length % 2
    raise Broken


def _read_webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        if len(data) < 30:
            raise Broken
        chunks = {chunk.name: data[chunk.start : chunk.end] for chunk in _riff(data) if chunk.name in {b"EXIF", b"VP8L"}}
        orientation = _orientation(chunks.get(b"EXIF", b"").removeprefix(b"Exif\x00\x00"))
        return _sized("webp", width, height, orientation, lossless=b"VP8L" in chunks)
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return _sized("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, lossless=True)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return _sized("webp", width & 0x3FFF, height & 0x3FFF)
    raise Broken


def _plain_webp(data: bytes) -> bool:
    """The simple container: one bitstream and no tail."""
    length = int.from_bytes(data[16:20], "little")
    return data[12:16] in {b"VP8 ", b"VP8L"} and 20 + length + length % 2 == len(data) == int.from_bytes(data[4:8], "little") + 8


def _webp_profile(data: bytes) -> bytes | None:
    return next((data[start:end] for name, start, end in _riff(data) if name == b"ICCP"), None)


def _read_gif(data: bytes) -> Header:
    return _sized("gif", *struct.unpack_from("<HH", data, 6), lossless=True)


def _jpeg_profile(data: bytes) -> bytes | None:
    """ICC.1 Annex B.4: the profile in APP2 segments, each with its number and how many there are."""
    parts: dict[int, bytes] = {}
    for marker, start, end in _segments(data):
        if marker == 0xE2 and data[start : start + 12] == b"ICC_PROFILE\x00":
            parts[data[start + 12]] = data[start + 14 : end]
        elif marker == 0xDA:
            break
    return b"".join(parts[number] for number in sorted(parts)) or None


def _sized(kind: Format, width: int, height: int, orientation: int = 1, *, lossless: bool = False) -> Header:
    if not width or not height:
        raise Broken
    return Header(kind, width, height, orientation, lossless)


def _orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory (TIFF 6.0; EXIF 2.32, 4.6.4); 1 when it is missing or cannot be read: EXIF is a courtesy."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_READERS = {"jpeg": _read_jpeg, "png": _read_png, "webp": _read_webp, "gif": _read_gif}
_PLAIN = {"jpeg": _plain_jpeg, "png": _plain_png, "webp": _plain_webp}
_PROFILES = {"jpeg": _jpeg_profile, "png": _png_profile, "webp": _webp_profile}
