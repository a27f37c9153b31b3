"""How large a picture needs to be for the model: by `detail`, by settings, and by whether it is a document.

A photo keeps its meaning at 1024 px; a page or screenshot of dense small text loses it. `is_document` tells them apart on the picture
as already shrunk to the photo's size, so that a photo pays two milliseconds for the question and a document pays a second shrinking.
"""

from dataclasses import dataclass

from PIL import Image, ImageChops

from sightline.settings import Images

# A neighbour differs by this much of 255 where a stroke begins or ends (grey small print that has been shrunk still does) …
STROKE = 28
# … and by no more than this on paper, panels and their noise.
FLAT = 9
# One tile is about three lines of text; both shares were measured on drawn samples (tests/unit/pictures/test_policy.py).
TILE = 32
STROKES_IN_TEXT = 0.12
FLAT_IN_TEXT = 0.35
TEXT_IN_DOCUMENT = 0.08


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done to a picture. `name` says all that can change the result, and is part of every key made under this policy.

    `longest` is the longest side in pixels, `document` that of documents (None: no such test); `trusted` means nothing is done at all.
    """

    name: str
    longest: int
    document: int | None
    sharpen: bool
    quality: int
    trusted: bool = False


def choose(settings: Images, detail: str | None) -> Policy:
    """The policy for `detail` (`low`, `high`, anything else is `auto`); with `prepare: always` or `never` detail changes nothing."""
    if settings.prepare == "never":
        return Policy("never", 0, None, sharpen=False, quality=0, trusted=True)
    longest, document = settings.longest_side, None
    if settings.prepare == "auto":
        if detail == "low":
            longest = settings.low_side
        elif detail == "high":
            longest = settings.high_side
        elif settings.document_side > settings.longest_side:
            document = settings.document_side
    name = f"{longest}-{document or longest}/q{settings.jpeg_quality}{'/sharpen' if settings.sharpen else ''}"
    return Policy(name, longest, document, settings.sharpen, settings.jpeg_quality)


def fit(width: int, height: int, longest: int) -> tuple[int, int]:
    """The size with the same shape whose longest side is at most `longest`; never larger than it was."""
    if max(width, height) <= longest:
        return width, height
    larger = max(width, height)
    return -(-width * longest // larger), -(-height * longest // larger)


def is_document(image: Image.Image) -> bool:
    """Whether dense small text covers a fair part of `image`.

    A tile holds text when many of its pixels differ strongly from their right neighbour (strokes) while many do not differ at all
    (paper between them). Foliage, fabric and noise have no paper; faces, products and large letters have few strokes.
    """
    grey = image.convert("L")
    width, height = grey.size
    if min(width, height) < 2 * TILE:
        return False
    steps = ImageChops.difference(grey.crop((0, 0, width - 1, height)), grey.crop((1, 0, width, height)))
    strokes, flats = (_tiles(steps.point(table)) for table in (_AT_LEAST, _AT_MOST))
    text = sum(s >= STROKES_IN_TEXT * 255 and f >= FLAT_IN_TEXT * 255 for s, f in zip(strokes, flats, strict=True))
    return text >= TEXT_IN_DOCUMENT * len(strokes)


def _tiles(mask: Image.Image) -> bytes:
    """The mean of each tile, 0 to 255."""
    return mask.reduce(TILE).tobytes()


_AT_LEAST = [255 * (step >= STROKE) for step in range(256)]
_AT_MOST = [255 * (step <= FLAT) for step in range(256)]
