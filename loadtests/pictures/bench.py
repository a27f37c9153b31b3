"""What seeing a picture costs, beside the bare steps that it consists of; all ratios within one run.

    python loadtests/pictures/bench.py [--rounds 9] [--json FILE]

Two sides of a ratio are measured in turns, and the least time of each counts: on a shared machine the rest is other people's.
CPU time where it says so (`process_time`), else wall time on one thread.
"""

import argparse
import asyncio
import base64
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
from loadtests.pictures import samples

from sightline.pictures import headers, imaging, policy, tokens
from sightline.pictures.prepare import Pictures
from sightline.settings import Images
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import PictureSource

SETTINGS = Images()
AUTO = policy.choose(SETTINGS, None)
# As `sightline serve` sets them: without these each large buffer is fresh memory, and the kernel's zeroing of it is most of the cost.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_TOP_PAD_": "67108864"}


def alternately(rounds: int, clock: Callable[[], float], *steps: Callable[[], object]) -> list[float]:
    """The least seconds of each step."""
    best = [float("inf")] * len(steps)
    for _ in range(rounds):
        for number, step in enumerate(steps):
            began = clock()
            step()
            best[number] = min(best[number], clock() - began)
    return best


def prepare(data: bytes) -> imaging.Picture:
    return imaging.prepare(data, headers.read(data, SETTINGS), AUTO)


def source(data: bytes) -> PictureSource:
    return PictureSource(0, "image", None, base64.b64encode(data), None)


async def nothing(_: PictureSource) -> bytes:
    raise AssertionError


def large_photo(rounds: int, data: bytes) -> dict[str, float]:
    """A 12 MP JPEG: draft, shrink, encode."""

    def bare() -> None:
        image = Image.open(BytesIO(data))
        image.draft(None, (1024, 768))
        image.resize((1024, 768), Image.Resampling.BILINEAR).save(BytesIO(), "JPEG", quality=92, subsampling=0)

    def whole() -> None:
        image = Image.open(BytesIO(data))
        image.resize((1024, 768), Image.Resampling.BILINEAR, reducing_gap=2.0).save(BytesIO(), "JPEG", quality=92, subsampling=0)

    ours, theirs, undrafted = alternately(rounds, time.process_time, partial(prepare, data), bare, whole)
    return {"ratio": ours / theirs, "ms": ours * 1e3, "bare_ms": theirs * 1e3, "ratio_without_draft": undrafted / theirs}


def small_photo(rounds: int) -> dict[str, float]:
    """A 100 kB JPEG of 1024×768 that goes on as sent: decode, digest."""
    image = samples.photo(1024, 768)
    data = next(found for quality in range(90, 20, -2) if len(found := samples.encode(image, "JPEG", quality=quality)) < 105_000)
    ours, theirs = alternately(rounds * 3, time.process_time, partial(prepare, data), lambda: Image.open(BytesIO(data)).load())
    return {"ratio": ours / theirs, "kB": len(data) / 1e3, "ms": ours * 1e3, "bare_ms": theirs * 1e3}


async def repeat(rounds: int) -> dict[str, float]:
    """The same bytes again, of a 1 MB and of a 5 MB file."""
    found = {}
    for name, size, quality in (("1 MB", (2800, 2100), 88), ("5 MB", (4800, 3600), 95)):
        data = samples.encode(samples.photo(*size), "JPEG", quality=quality)
        pictures, again = Pictures(SETTINGS, Metrics(), nothing), source(data)
        await pictures.identify([again])
        best = float("inf")
        for _ in range(rounds * 5):
            began = time.process_time()
            (identified,) = await pictures.identify([again])
            await pictures.prepare(identified)
            best = min(best, time.process_time() - began)
        found[f"ms_per_MB {name} ({len(data) / 1e6:.1f})"] = best * 1e3 / (len(data) / 1e6)
        await pictures.close()
    return found


async def cores(data: bytes) -> dict[str, float]:
    """Unseen pictures a second on two threads over one."""
    rates: dict[int, float] = {}
    for threads in (1, 2, 1, 2):
        pictures = Pictures(Images(threads=threads), Metrics(), nothing)
        # A tail of its own makes each one unseen; it is not decoded.
        unseen = [source(data + bytes([number])) for number in range(16)]
        began = time.perf_counter()
        await asyncio.gather(*(pictures.identify([one]) for one in unseen))
        rates[threads] = max(rates.get(threads, 0.0), len(unseen) / (time.perf_counter() - began))
        await pictures.close()
    return {"ratio": rates[2] / rates[1], "per_second_one": rates[1], "per_second_two": rates[2], "cores": len(os.sched_getaffinity(0))}


BOMB = """
import resource, struct, time, zlib
from sightline.pictures import headers
from sightline.errors import PictureRefused
from sightline.settings import Images
def chunk(name, content): return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
pack = zlib.compressobj(9)
pixels = b"".join(pack.compress(bytes(2501)) for _ in range(20000)) + pack.flush()
header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0))
bomb = b"\\x89PNG\\r\\n\\x1a\\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
settings, before, began = Images(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
try: headers.read(bomb, settings)
except PictureRefused as refused: code = refused.code
print(len(bomb) / 1e3, (time.perf_counter() - began) * 1e3, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, code)
"""

CROWD = """
import asyncio, base64, resource, sys
sys.path.insert(0, sys.argv[1])
from io import BytesIO
from PIL import Image
from loadtests.pictures import samples
from sightline.pictures.prepare import Pictures
from sightline.settings import Images
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import PictureSource
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
light = Image.radial_gradient("L").resize((5740, 5740))
bands = {"PNG": "RGBA", "JPEG": "RGB", "WEBP": "RGBA"}[sys.argv[2]]
image = Image.merge(bands, [light] * len(bands))
options = {"PNG": {"compress_level": 1}, "JPEG": {"quality": 60, "progressive": True}, "WEBP": {"quality": 40, "method": 0}}
data = samples.encode(image, sys.argv[2], **options[sys.argv[2]])
del image, light
async def main():
    async def fetch(source): return data + bytes([source.index])
    pictures = Pictures(Images(), Metrics(), fetch)
    found = await pictures.identify([PictureSource(n, "i", None, None, "x") for n in range(16)])
    await pictures.close()
    print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
asyncio.run(main())
"""


def run(script: str, *arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, timeout=300)
    return done.stdout.split() or ["failed:", done.stderr.strip().splitlines()[-1][:120] if done.stderr else str(done.returncode)]


def bomb() -> dict[str, Any]:
    kilobytes, ms, megabytes, code = run(BOMB)
    return {"kB": float(kilobytes), "ms": float(ms), "rss_MB": float(megabytes), "code": code}


def crowd() -> dict[str, Any]:
    """16 pictures of 33 Mpx at once, with 2 GB of address space and no more."""
    root = str(Path(__file__).parents[2])
    return {form: " ".join(run(CROWD, root, form)) for form in ("JPEG", "PNG", "WEBP")}


def saved() -> list[dict[str, Any]]:
    """Tokens at the size as sent and as prepared."""
    drawn = {
        "photo 12 MP": samples.encode(samples.photo(4000, 3000), "JPEG", quality=88),
        "photo 8 MP upright": samples.encode(samples.photo(2448, 3264, 8), "JPEG", quality=88),
        "photo 2 MP": samples.encode(samples.photo(1600, 1200, 9), "JPEG", quality=85),
        "photographed page 12 MP": samples.encode(samples.photographed(samples.document(3000, 4000)), "JPEG", quality=88),
        "screenshot 1920×1080": samples.encode(samples.screenshot(), "PNG"),
        "screenshot 4K": samples.encode(samples.screenshot(3840, 2160, letters=26), "PNG"),
        "screenshot phone": samples.encode(samples.screenshot(1170, 2532, letters=34), "PNG"),
        "plain screen 1920×1080": samples.encode(samples.plain_screen(), "PNG"),
    }
    rows = []
    for name, data in drawn.items():
        picture = prepare(data)
        row: dict[str, Any] = {
            "picture": name,
            "sent": f"{picture.original_width}×{picture.original_height}, {len(data) / 1e3:.0f} kB",
            "prepared": f"{picture.width}×{picture.height}, {len(picture.encoded) / 1e3:.0f} kB",
        }
        for family in (tokens.QWEN25_VL, tokens.QWEN3_VL, tokens.GLM_46V):
            before = tokens.image_tokens(family, picture.original_width, picture.original_height)
            row[family.name] = [before, tokens.image_tokens(family, picture.width, picture.height)]
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if any(name not in os.environ for name in MALLOC):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | MALLOC)
    data = samples.encode(samples.photo(4000, 3000), "JPEG", quality=88)
    results: dict[str, Any] = {"load average at the start": os.getloadavg()[0]}
    steps: dict[str, Callable[[], Any]] = {
        "12 MP JPEG / bare Pillow (≤ 1.25)": partial(large_photo, chosen.rounds, data),
        "100 kB JPEG as sent / bare decode (≤ 1.3)": partial(small_photo, chosen.rounds),
        "repeat, CPU ms per MB (≤ 0.3)": lambda: asyncio.run(repeat(chosen.rounds)),
        "two threads / one (≥ 1.7)": lambda: asyncio.run(cores(data)),
        "400 Mpx PNG refused (< 20 ms, < 20 MB)": bomb,
        "16 × 33 Mpx within 2 GB (count, peak MB)": crowd,
        "tokens as sent, as prepared": saved,
    }
    for name, step in steps.items():
        results[name] = step()
        print(name)
        for line in results[name] if isinstance(results[name], list) else [results[name]]:
            print("   ", ", ".join(f"{key}: {round(value, 3) if isinstance(value, float) else value}" for key, value in line.items()))
    print("peak of this process, MB:", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
