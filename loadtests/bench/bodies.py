"""The requests of the bench: real chat requests with real JPEGs, drawn here.

text.json, sse.json     text only (sse.json asks for a stream with usage)
i100k/NNN.json          24 pictures of ~100 kB, 1024×768: small enough to need no resize
i1m/NNN.json            6 pictures of ~1 MB, 3000×2000: larger than what vision models take, so a gateway may shrink them

The sixteen "@" in each question are where `lg --new-question` writes a question never asked before. Entries 2 to 13 of each JPEG's
luminance quantisation table are where `lg --new-image` makes a picture never sent before: they lie at bytes 27 to 38 of the file, so
they are exactly the base64 characters 36 to 51. That this changes the pixels is checked here.
"""

import base64
import io
import json
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

MARK = b"@" * 16
_ENTRIES = range(27, 39)  # bytes of the JPEG that hold the patched quantisation entries
_KINDS = (("i100k", 24, 1024, 768, 100_000), ("i1m", 6, 3000, 2000, 1_000_000))


def draw(folder: Path) -> None:
    """Writes all bodies; the last one says that they are complete."""
    for kind, count, width, height, target in _KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            jpeg = _jpeg(_page(width, height, number), target)
            if abs(len(jpeg) - target) > target / 5:
                raise AssertionError(f"{kind}/{number}: {len(jpeg)} bytes")
            if number == 0:
                _check_patch(jpeg)
            (folder / kind / f"{number:03d}.json").write_bytes(chat(jpeg))
    (folder / "text.json").write_bytes(chat(None))
    (folder / "sse.json").write_bytes(chat(None, stream=True, stream_options={"include_usage": True}))


def chat(jpeg: bytes | None, **extra: object) -> bytes:
    question = "What is shown here? Describe it in detail. Reference " + MARK.decode()
    content: object = question
    if jpeg is not None:
        url = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": content}]
    return json.dumps({"model": "mock-vl", "messages": messages, "max_tokens": 64, "temperature": 0, **extra}).encode()


def _page(width: int, height: int, seed: int) -> Image.Image:
    """Soft gradients, a camera's noise, lines of text."""
    rng = random.Random(seed)
    ramp = Image.linear_gradient("L").resize((width, height))
    disc = Image.radial_gradient("L").rotate(rng.randrange(360)).resize((width, height))
    noise = Image.frombytes("L", (width, height), rng.randbytes(width * height)).convert("RGB")
    page = Image.blend(Image.merge("RGB", (ramp, disc, ImageChops.invert(ramp))), noise, 0.22)
    canvas = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=max(14, height // 40))
    for row in range(8, height, height // 24):
        words = " ".join(str(rng.randrange(10**6)) for _ in range(9))
        ink = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        canvas.text((12 + rng.randrange(width // 3), row), f"Item {seed}: {words}", fill=ink, font=font)
    return page


def _jpeg(page: Image.Image, target: int) -> bytes:
    """The JPEG of the quality that comes nearest to `target` bytes."""
    low, high, best = 10, 95, b""
    while low <= high:
        quality = (low + high) // 2
        out = io.BytesIO()
        page.save(out, "JPEG", quality=quality)
        if not best or abs(len(out.getvalue()) - target) < abs(len(best) - target):
            best = out.getvalue()
        low, high = (quality + 1, high) if len(out.getvalue()) < target else (low, quality - 1)
    if best[20:22] != b"\xff\xdb" or best[24] != 0 or not all(0 < best[entry] < 252 for entry in _ENTRIES):
        raise AssertionError("the quantisation table is not where lg patches it, or leaves no room for the patch")
    return best


def _check_patch(jpeg: bytes) -> None:
    """One step of one quantisation entry gives other pixels, also after shrinking to 1024 px."""
    before = _pixels(jpeg)
    for entry in _ENTRIES:
        patched = bytearray(jpeg)
        patched[entry] += 1
        if not ImageChops.difference(before, _pixels(bytes(patched))).getbbox():
            raise AssertionError(f"entry {entry} does not change the pixels")


def _pixels(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    image.thumbnail((1024, 1024))
    return image
