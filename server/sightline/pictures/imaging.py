"""Bytes to Picture: decode, orient, shrink, right the colours, digest, encode. Runs in a thread; knows nothing of requests.

The identity is the digest of the prepared pixels *before* they are encoded again, so that one picture has one identity whatever
container brought it. Large JPEGs are shrunk while they are decoded (libjpeg's DCT scaling, half the cost of a 12 MP photo), which gives
slightly other pixels than decoding in full. So the promise holds for equal decoded pixels up to twice the target size; a larger JPEG
shares its identity with its own copies (without EXIF, by URL, losslessly rearranged) but not with a PNG of itself: a miss, never a mix-up.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import PIL
from blake3 import blake3
from PIL import Image, ImageCms, ImageFilter, features
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sightline.errors import Overloaded
from sightline.pictures.formats import Broken, Format, Header, colour_profile, essence, is_plain
from sightline.pictures.headers import MEDIA_TYPES, broken
from sightline.pictures.policy import Policy, fit, is_document

PIXELS_CONTEXT = "sightline 2026 picture: prepared pixels"
# What turns bytes into pixels; replicas that differ in it do not share what they know about bytes.
DECODERS = f"pillow {PIL.__version__} jpeg {features.version('jpg')} webp {features.version('webp')}"
# What came losslessly stays so up to so many bytes, or so many a pixel as sent: screenshots, charts and scans, not large photos.
SMALL_BYTES = 64 * 2**10
SMALL_BYTES_PER_PIXEL = 1.5

Box = tuple[float, float, float, float]

# Each decoder by itself: `Image.open` would guess again from the bytes, and answers a JPEG with its MPO reader.
_DECODERS: dict[Format, Callable[[BytesIO], ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
}
# EXIF 2.32, 4.6.4.A Orientation: what puts each of them upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as the engine gets it.

    `image_hash` is 64 hex digits. `encoded` is a file of type `media_type`; `as_sent` says that it is byte for byte what was sent.
    Sizes are in pixels, the original's after orientation. `left` and `top` say where the prepared picture begins in the original.
    """

    image_hash: str
    encoded: bytes
    media_type: str
    width: int
    height: int
    original_width: int
    original_height: int
    as_sent: bool
    policy: str
    left: float = 0.0
    top: float = 0.0

    @property
    def scale(self) -> tuple[float, float]:
        """Original pixels per prepared pixel, across and down."""
        return self.original_width / self.width, self.original_height / self.height

    def to_original(self, box: Box) -> Box:
        """A box (x0, y0, x1, y1) in prepared pixels, in pixels of the original as sent and upright, cut at its edges."""
        across, down = self.scale

        def x(value: float) -> float:
            return min(max(self.left + value * across, 0.0), float(self.original_width))

        def y(value: float) -> float:
            return min(max(self.top + value * down, 0.0), float(self.original_height))

        return x(box[0]), y(box[1]), x(box[2]), y(box[3])


def trusted(data: bytes, header: Header, policy: Policy, digest: bytes) -> Picture:
    """The picture as it was sent, unopened: its identity is that of its bytes."""
    image_hash = digest.hex()
    media_type = MEDIA_TYPES[header.format]
    return Picture(image_hash, data, media_type, *header.upright, *header.upright, as_sent=True, policy=policy.name)


def prepare(data: bytes, header: Header, policy: Policy) -> Picture:
    """The prepared picture; raises PictureRefused when the file cannot be decoded, Overloaded when there is no memory to do it."""
    try:
        image, untouched = _prepared(data, header, policy)
        width, height = image.size
        pixels = blake3(derive_key_context=PIXELS_CONTEXT).update(struct.pack(">II", width, height)).update(image.tobytes())
        as_sent = untouched and is_plain(data, header)
        media_type, encoded = (MEDIA_TYPES[header.format], data) if as_sent else _encode(image, header, len(data), policy)
    except MemoryError:
        raise Overloaded("There is no memory to open this picture now. Try again.", reason="memory") from None
    except Exception:  # noqa: BLE001 - decoders raise whatever they like on hostile bytes (OSError, SyntaxError, struct.error, KeyError …)
        raise broken(header.format) from None
    return Picture(pixels.hexdigest(), encoded, media_type, width, height, *header.upright, as_sent=as_sent, policy=policy.name)


def _prepared(data: bytes, header: Header, policy: Policy) -> tuple[Image.Image, bool]:
    """The prepared RGB pixels, and whether a decoder would find just these in the file as it is."""
    stored = header.width, header.height
    size = fit(*stored, policy.longest)
    source, faithful = _decode(data, header, size)
    image = _shrink(source, size)
    if policy.document and size != stored and is_document(image):
        size = fit(*stored, policy.document)
        if source.width < size[0] or source.height < size[1]:
            source, faithful = _decode(data, header, size)
        image = _shrink(source, size)
    image = _to_srgb(image, colour_profile(data, header))
    if policy.sharpen and size != stored:
        image = image.filter(ImageFilter.UnsharpMask(radius=1, percent=60, threshold=2))
    if header.orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[header.orientation])
    return image, faithful and size == stored


def _decode(data: bytes, header: Header, size: tuple[int, int]) -> tuple[Image.Image, bool]:
    """The first frame as L, RGB or CMYK without alpha, at least `size` large; and whether its colours are those that were stored."""
    image = _DECODERS[header.format](BytesIO(essence(data, header)))
    if image.size != (header.width, header.height):
        raise Broken  # what was judged is not what would be decoded
    if header.format == "jpeg":
        image.draft(None, size)
    image.load()
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        opaque = layered.getchannel("A").getextrema() == (255, 255)
        return (layered.convert("RGB"), opaque) if opaque else (_on_white(layered), False)
    if image.mode.startswith("I"):  # 16-bit grey: PNG has no other integer mode
        return image.point(lambda value: value / 256).convert("L"), False
    return image if image.mode in {"L", "RGB", "CMYK"} else image.convert("L" if image.mode == "1" else "RGB"), image.mode != "CMYK"


def _on_white(layered: Image.Image) -> Image.Image:
    page = Image.new("RGB", layered.size, "white")
    page.paste(layered, mask=layered)
    return page


def _shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB by the embedded profile, or as if it were sRGB where there is none, or one that is broken or of another kind of colour."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            if "sRGB" not in (source.profile.profile_description or ""):
                converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                return converted if converted is not None else image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image if image.mode == "RGB" else image.convert("RGB")


def _encode(image: Image.Image, header: Header, sent: int, policy: Policy) -> tuple[str, bytes]:
    """(media type, file): PNG where the picture came losslessly and that was small, JPEG without chroma subsampling otherwise."""
    image.info = {}  # Pillow would write comments and profiles that it finds here
    lossless = header.lossless and sent <= max(SMALL_BYTES, SMALL_BYTES_PER_PIXEL * header.pixels)
    with _scratch() as file:
        if lossless:
            image.save(file, "PNG", compress_level=3)
        else:
            image.save(file, "JPEG", quality=policy.quality, subsampling=0)
        file.seek(0)
        return MEDIA_TYPES["png" if lossless else "jpeg"], file.read()


def _scratch() -> BinaryIO:
    """A file in memory that has a descriptor, where there is one to be had: Pillow gives up the GIL while it encodes into such a file,
    and keeps it while it encodes into `BytesIO`.
    """
    try:
        return os.fdopen(os.memfd_create("picture"), "w+b")
    except (AttributeError, OSError):
        return BytesIO()
