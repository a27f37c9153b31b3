"""A bomb costs next to no memory; damaged pictures leave none behind. Measured from outside, in a process of its own."""

import subprocess
import sys

SCRIPT = """
import resource, sys, zlib
from sightline.errors import PictureRefused
from sightline.pictures import headers, imaging, policy
from sightline.settings import Images
import struct

def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize() / 2**20

settings = Images()
"""
BOMB = """
def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

deflate = zlib.compressobj(9)
pixels = b"".join(deflate.compress(bytes(2501)) for _ in range(20_000)) + deflate.flush()
header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
bomb = b"\\x89PNG\\r\\n\\x1a\\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    headers.read(bomb, settings)
except PictureRefused as refused:
    assert refused.code == "image_too_large"
else:
    sys.exit("accepted")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
LEAK = """
from loadtests.pictures.samples import encode, photo
whole = [encode(photo(800, 600), form) for form in ("JPEG", "PNG", "WEBP", "GIF")]
chosen = policy.choose(settings, "low")

def round():
    for data in whole:
        for cut in (len(data) // 3, len(data) // 2, len(data)):
            try:
                imaging.prepare(data[:cut], headers.read(data[:cut], settings), chosen)
            except PictureRefused:
                pass

for _ in range(10):
    round()
before = resident()
for _ in range(40):
    round()
print(resident() - before)
"""


def megabytes(script: str) -> float:
    ran = subprocess.run([sys.executable, "-c", SCRIPT + script], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return float(ran.stdout)


def test_a_bomb_costs_no_memory() -> None:
    """400 Mpx refused from the header: the peak of the process rises by less than 20 MB."""
    assert megabytes(BOMB) < 20


def test_refused_pictures_leave_no_memory_behind() -> None:
    """480 pictures, 320 of them damaged, after 120 to warm up: one leaked decode of each would be 500 MB."""
    assert megabytes(LEAK) < 30
