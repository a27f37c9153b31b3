"""Pictures drawn for tests and measurements: photos, screenshots, documents, plates. Deterministic, of any size, and nobody's property."""

import random
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFont

WORDS = (
    "the invoice of order net amount due within thirty days total including tax customer number delivery address please note that".split()
)


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    """The picture as a file."""
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(width: int, height: int, grain: int, strength: float, seed: int) -> Image.Image:
    """Grey noise around 128 with structures of about `grain` pixels."""
    size = (max(2, width // max(1, grain)), max(2, height // max(1, grain)))
    raw = Image.frombytes("L", size, random.Random(seed).randbytes(size[0] * size[1]))
    return raw.point([round(128 + (value - 128) * strength) for value in range(256)]).resize((width, height), Image.Resampling.BICUBIC)


def photo(width: int = 4000, height: int = 3000, seed: int = 1) -> Image.Image:
    """A scene: soft light, objects with edges, texture, sensor noise."""
    bands = []
    for band in range(3):
        layer = noise(width, height, max(width, height) // 6, 0.9, seed * 10 + band)
        for grain, strength in ((max(width, height) // 60, 0.35), (8, 0.15), (2, 0.08)):
            layer = ImageChops.add(layer, noise(width, height, grain, strength, seed * 100 + band * 10 + grain % 7), 1, -128)
        bands.append(layer)
    image = Image.merge("RGB", bands)
    draw = ImageDraw.Draw(image)
    dice = random.Random(seed)
    for _ in range(12):
        x, y, r = dice.randrange(width), dice.randrange(height), dice.randrange(max(2, width // 40), max(3, width // 8))
        draw.ellipse((x - r, y - r, x + r, y + r // 2), fill=tuple(dice.randrange(256) for _ in range(3)))
    sensor = noise(width, height, 1, 0.06, seed)
    return ImageChops.add(image, Image.merge("RGB", (sensor, ImageChops.invert(sensor), sensor)), 1, -128)


def foliage(width: int = 4000, height: int = 3000, seed: int = 2) -> Image.Image:
    """Leaves or gravel: strong edges everywhere and nothing flat between them."""
    bands = [noise(width, height, max(width, height) // 250, 0.9, seed), noise(width, height, max(width, height) // 180, 1.0, seed + 1)]
    return Image.merge("RGB", (bands[0], bands[1], ImageChops.multiply(*bands)))


def text_lines(
    image: Image.Image, box: tuple[int, int, int, int], height: int, ink: tuple[int, int, int], seed: int, gap: float = 1.5
) -> None:
    """Fills `box` with lines of words `height` pixels high."""
    draw, font, dice = ImageDraw.Draw(image), ImageFont.load_default(height), random.Random(seed)
    y = box[1]
    while y + height < box[3]:
        x = box[0]
        while x < box[2]:
            word = dice.choice(WORDS) if dice.random() < 0.8 else f"{dice.random() * 1e4:.2f}"
            length = int(draw.textlength(word + " ", font))
            if x + length > box[2]:
                break
            draw.text((x, y), word, ink, font)
            x += length
        y += int(height * gap)


def document(width: int = 2480, height: int = 3508, seed: int = 3, letters: float = 0.014) -> Image.Image:
    """A page of print; `letters` is their height as a share of the page's (0.014 is 12 pt on A4)."""
    image = Image.new("RGB", (width, height), (252, 252, 250))
    margin = width // 10
    text_lines(image, (margin, margin, width - margin, height // 2), max(5, int(height * letters)), (30, 30, 34), seed)
    text_lines(
        image, (margin, height // 2 + margin // 2, width - margin, height - margin), max(5, int(height * letters)), (60, 60, 60), seed + 1
    )
    return image


def photographed(page: Image.Image, seed: int = 4) -> Image.Image:
    """The page on a table, a little turned, in uneven light, with a sensor's noise."""
    width, height = page.size
    table = noise(width, height, 40, 0.25, seed).point([value // 2 + 20 for value in range(256)])
    scene = Image.merge("RGB", (table, table, table))
    small = page.resize((int(width * 0.85), int(height * 0.85))).rotate(3, Image.Resampling.BICUBIC, fillcolor=(90, 88, 85))
    scene.paste(small, (width // 13, height // 13))
    light = Image.linear_gradient("L").resize(page.size).point([170 + value // 3 for value in range(256)])
    scene = ImageChops.multiply(scene, Image.merge("RGB", (light, light, light)))
    grain = noise(width, height, 1, 0.05, seed + 1)
    return ImageChops.add(scene, Image.merge("RGB", (grain, grain, grain)), 1, -128)


def screenshot(width: int = 1920, height: int = 1080, seed: int = 5, letters: int = 14) -> Image.Image:
    """A ticketing tool: bars, panels, dense small text, some of it grey."""
    image = Image.new("RGB", (width, height), (246, 247, 249))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, height // 20), (36, 50, 78))
    draw.rectangle((0, height // 20, width // 6, height), (230, 233, 238))
    text_lines(image, (20, height // 12, width // 6 - 20, height - 40), letters, (80, 84, 96), seed, 2.2)
    for row in range(3):
        top = height // 12 + row * height // 3
        draw.rectangle((width // 5, top, width - 40, top + height // 4), (255, 255, 255), (210, 214, 220))
        text_lines(image, (width // 5 + 24, top + 16, width - 70, top + height // 7), letters, (24, 26, 30), seed + row)
        text_lines(
            image, (width // 5 + 24, top + height // 7, width - 70, top + height // 4), max(8, letters - 3), (150, 152, 158), seed + row
        )
    return image


def plain_screen(width: int = 1920, height: int = 1080, seed: int = 6) -> Image.Image:
    """A screen with little on it: a large headline, tiles of colour, two buttons."""
    image = Image.new("RGB", (width, height), (250, 250, 252))
    draw, dice = ImageDraw.Draw(image), random.Random(seed)
    draw.text((width // 10, height // 12), "Good morning", (20, 24, 40), ImageFont.load_default(height // 12))
    for column in range(4):
        left = width // 10 + column * width // 5
        draw.rounded_rectangle(
            (left, height // 3, left + width // 6, height * 2 // 3), 24, tuple(dice.randrange(90, 230) for _ in range(3))
        )
    draw.rounded_rectangle((width // 10, height * 5 // 6, width // 4, height * 11 // 12), 12, (40, 90, 200))
    return image


def table(width: int = 1240, height: int = 1000, seed: int = 8) -> Image.Image:
    """A price list: a head, ruled rows, numbers set to the right, every other row shaded."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    draw, dice, line = ImageDraw.Draw(image), random.Random(seed), height // 24
    font = ImageFont.load_default(max(6, line // 2))
    columns = [width // 20, width // 2, width * 2 // 3, width * 19 // 20]
    for row in range(1, 23):
        top = row * line
        shade = (40, 62, 110) if row == 1 else (255, 255, 255) if row % 2 else (238, 241, 246)
        draw.rectangle((columns[0], top, columns[-1], top + line), shade)
        ink = (255, 255, 255) if row == 1 else (24, 26, 30)
        cells = ("pieces", "each", "total")
        if row > 1:
            cells = (f"{dice.randrange(1, 500)}", f"{dice.random() * 90:.2f}", f"{dice.random() * 9e3:.2f}")
        draw.text((columns[0] + line // 2, top + line // 4), "article" if row == 1 else " ".join(dice.sample(WORDS, 2)), ink, font)
        for edge, cell in zip(columns[1:], cells, strict=True):
            draw.text((edge - line // 2, top + line // 4), cell, ink, font, anchor="ra")
        draw.line((columns[0], top, columns[-1], top), (190, 196, 206))
    return image


MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
SERIES = ("orders", "returns", "complaints")


def chart(width: int = 1280, height: int = 800, seed: int = 9) -> Image.Image:
    """A year in bars, three to a month, with axis, grid and legend."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    draw, dice, letters = ImageDraw.Draw(image), random.Random(seed), max(6, height // 36)
    font, inks = ImageFont.load_default(letters), ((60, 110, 200), (240, 150, 50), (90, 170, 90))
    left, bottom, top, right = width // 12, height * 7 // 8, height // 7, width * 23 // 24
    draw.text((left, height // 40), f"Service desk {2000 + seed % 100}", (20, 24, 40), ImageFont.load_default(letters * 2))
    for step in range(6):
        y = bottom - step * (bottom - top) // 5
        draw.line((left, y, right, y), (220, 224, 230))
        draw.text((left - letters // 2, y), str(step * 200), (90, 94, 104), font, anchor="rm")
    slot = (right - left) // 12
    for month, name in enumerate(MONTHS):
        x = left + month * slot
        for number, ink in enumerate(inks):
            bar = dice.randrange((bottom - top) // 20, bottom - top)
            draw.rectangle((x + slot // 8 + number * slot // 4, bottom - bar, x + slot // 8 + (number + 1) * slot // 4 - 1, bottom), ink)
        draw.text((x + slot // 2, bottom + letters), name, (90, 94, 104), font, anchor="mm")
    for number, (name, ink) in enumerate(zip(SERIES, inks, strict=True)):
        x = left + number * width // 6
        draw.rectangle((x, height * 15 // 16, x + letters, height * 15 // 16 + letters), ink)
        draw.text((x + letters * 3 // 2, height * 15 // 16), name, (40, 44, 54), font)
    return image


def plate(width: int = 2240, height: int = 1120, seed: int = 7) -> Image.Image:
    """A nameplate: few large characters on painted metal."""
    image = Image.merge("RGB", [noise(width, height, 60, 0.1, seed)] * 3).point([min(255, value + 40) for value in range(256)] * 3)
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 20, height // 10, width - width // 20, height - height // 10), outline=(30, 30, 30), width=width // 150)
    draw.text((width // 8, height // 3), "48210937 KX", (20, 20, 24), ImageFont.load_default(height // 4))
    return image
