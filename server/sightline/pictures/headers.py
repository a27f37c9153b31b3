"""May this picture be opened? Decided from its first bytes, before any decoder sees it; a declared type is never asked."""

from sightline.errors import PictureRefused
from sightline.pictures.formats import PNG_SIGNATURE, Broken, Format, Header, read_header
from sightline.settings import Images

MEDIA_TYPES: dict[Format, str] = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}

_SUPPORTED = "Send a JPEG, PNG, WebP or GIF."
_STRANGERS = (
    (b"%PDF", "a PDF"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"\x00\x00\x01\x00", "an icon file"),
    (b"BM", "a BMP"),
    (b"<", "markup such as SVG or HTML"),
    (b"\xef\xbb\xbf<", "markup such as SVG or HTML"),
)


def read(data: bytes, limits: Images) -> Header:
    """The header of `data`, if the picture may be opened; raises PictureRefused with the fitting code if not."""
    if not data:
        raise PictureRefused("The picture has no bytes. Send the whole file.", code="empty_image_file")
    if len(data) > limits.max_bytes:
        raise too_many_bytes(limits)
    kind = sniff(data)
    try:
        header = read_header(kind, data)
    except Broken:
        raise broken(kind) from None
    _judge(header, limits)
    return header


def sniff(data: bytes) -> Format:
    """The type by its magic bytes."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    start = data[:64].lstrip()
    found = next((name for magic, name in _STRANGERS if start.startswith(magic)), "of no type that is known here")
    raise PictureRefused(f"The picture is {found}. {_SUPPORTED}", code="unsupported_image_media_type")


def too_many_bytes(limits: Images) -> PictureRefused:
    size = f"{limits.max_bytes / 2**20:.3g} MB"
    return PictureRefused(f"The picture's file is larger than {size}. Send it smaller or compressed more.", code="image_file_too_large")


def broken(kind: Format) -> PictureRefused:
    return PictureRefused(
        f"The picture is a {kind.upper()} that cannot be read: it is cut off or damaged. Send it anew.", code="image_parse_error"
    )


def _judge(header: Header, limits: Images) -> None:
    width, height = header.width, header.height
    size = f"The picture has {width}×{height} pixels"
    if min(width, height) < limits.min_side:
        raise PictureRefused(f"{size}; each side needs at least {limits.min_side}.", code="image_too_small")
    if header.pixels > limits.max_pixels:
        raise PictureRefused(
            f"{size}, more than {limits.max_pixels / 1e6:g} million. Scale it down before sending.", code="image_too_large"
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise PictureRefused(
            f"{size}; one side may be at most {limits.max_aspect:g} times the other. Crop or cut it.", code="invalid_value"
        )
