"""What the tests of pictures share: opening one, and small pictures whose every pixel matters."""

import base64
import random
from typing import Any

from PIL import Image

from sightline.pictures import headers, imaging, policy
from sightline.pictures.imaging import Picture
from sightline.settings import Images
from sightline.wire.protocol import PictureSource


def prepared(data: bytes, detail: str | None = None, **settings: Any) -> Picture:
    """The picture that comes of `data` under `settings`, without threads or memory."""
    images = Images(**settings)
    return imaging.prepare(data, headers.read(data, images), policy.choose(images, detail))


def source(data: bytes, index: int = 0, detail: str | None = None) -> PictureSource:
    """A data URI's source as the wire hands it over."""
    param = f"messages[0].content[{index}].image_url.url"
    return PictureSource(index, param, detail, base64.b64encode(data), None)


def mosaic(width: int = 40, height: int = 24, seed: int = 0) -> Image.Image:
    """Random RGB pixels."""
    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(width * height * 3))


def corners(width: int = 64, height: int = 32) -> Image.Image:
    """White, with a red block top left and a blue one top right: no turning or mirroring leaves it as it is."""
    image = Image.new("RGB", (width, height), "white")
    image.paste((255, 0, 0), (0, 0, width // 4, height // 2))
    image.paste((0, 0, 255), (width - width // 4, 0, width, height // 2))
    return image
