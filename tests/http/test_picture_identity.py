"""One picture is one picture, however it comes: its question is answered once, and the engine sees only what was made of it here."""

import base64
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image, ImageChops
from tests.caching import cache
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, data_uri

ORIENTATION, MAKE, GPS = 0x0112, 0x010F, 0x8825


def scene() -> Image.Image:
    """With edges and slopes, so that every pixel counts."""
    light = Image.linear_gradient("L").resize((120, 80))
    return Image.merge("RGB", (light, light.transpose(Image.Transpose.ROTATE_180), Image.radial_gradient("L").resize((120, 80))))


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_exif(data: bytes, orientation: int) -> bytes:
    """The same JPEG with EXIF before it, as a phone writes it: the picture's own bytes stay."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "canary-phone-55aa"
    exif.get_ifd(GPS)[1] = "N"
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    return data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]


STRIPPED = encode(scene(), "JPEG", quality=90)
PIXELS = Image.open(io.BytesIO(STRIPPED)).convert("RGB")
COPIES = {
    "png": encode(PIXELS, "PNG"),
    "webp": encode(PIXELS, "WEBP", lossless=True, exact=True),
    "jpeg": STRIPPED,
    "exif": with_exif(STRIPPED, 1),
    "png-fast": encode(PIXELS, "PNG", compress_level=1),
    "png-alpha": encode(PIXELS.convert("RGBA"), "PNG"),
    "turned": encode(
        PIXELS.transpose(Image.Transpose.ROTATE_90), "PNG", exif=b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    ),
}
OTHERS = {
    "a pixel": encode(ImageChops.add(PIXELS, Image.new("RGB", (1, 1), (1, 0, 0)).resize(PIXELS.size)), "PNG"),
    "mirrored": encode(PIXELS.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
    "turned by its EXIF": with_exif(STRIPPED, 3),
    "cut": encode(PIXELS.crop((0, 0, 119, 80)), "PNG"),
}


class Host(ThreadingHTTPServer):
    """Serves the copies by name and remembers who asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.asked: list[str] = []


class Page(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        data = COPIES[self.path.partition("?")[0].rpartition("/")[2]]
        self.send_response(200)
        self.send_header("content-type", "text/plain")  # what it says it is does not count
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as host:
        thread = threading.Thread(target=host.serve_forever, args=(0.01,))
        thread.start()
        yield host
        host.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def _fetching(_engine: FakeEngine, host: Host) -> Iterator[GatewayProcess]:
    settings = environment(images__fetch__allow_networks="127.0.0.0/8", images__fetch__ports=host.server_port)
    with GatewayProcess(_engine.url, environ=settings) as gateway:
        yield gateway


@pytest.fixture
def fetching(_fetching: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    """It may fetch from this very host."""
    return ready(_fetching)


def url(host: Host, name: str) -> str:
    return f"http://127.0.0.1:{host.server_port}/inside/{name}?signature=canary-77e1"


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("way", ["data", "url"])
def test_one_hash_and_a_hit(fetching: GatewayProcess, host: Host, name: str, way: str) -> None:
    """By data URI or URL, as PNG, as lossless WebP, as JPEG with or without EXIF, upright by EXIF."""
    text = "what is the same?"
    first = fetching.chat(ask(text, pictures=(data_uri(COPIES["png"]),)))
    again = fetching.chat(ask(text, pictures=(url(host, name) if way == "url" else data_uri(COPIES[name], "image/jpeg"),)))

    assert again.headers["x-image-hash"] == first.headers["x-image-hash"]
    assert cache(again) == "HIT"


@pytest.mark.parametrize("name", OTHERS)
def test_another_picture_is_another(fetching: GatewayProcess, name: str) -> None:
    text = "what is another?"
    first = fetching.chat(ask(text, pictures=(data_uri(COPIES["png"]),)))
    again = fetching.chat(ask(text, pictures=(data_uri(OTHERS[name]),)))

    assert again.headers["x-image-hash"] != first.headers["x-image-hash"]
    assert cache(again) == "MISS"


def test_the_engine_is_sent_the_picture_and_never_its_address(fetching: GatewayProcess, engine: FakeEngine, host: Host) -> None:
    engine.pictures.clear()
    fetching.chat(ask(pictures=(url(host, "turned"),)))

    call = engine.calls[-1]  # the first may have named a picture that this engine has just forgotten
    head, _, payload = call.json["messages"][0]["content"][0]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    seen = Image.open(io.BytesIO(base64.b64decode(payload)))
    assert seen.convert("RGB").tobytes() == PIXELS.tobytes()
    assert len(seen.getexif()) == 0
    assert [canary for canary in ("inside", "canary", f":{host.server_port}") if canary.encode() in call.body] == []


def test_a_photographs_past_does_not_reach_the_engine(fetching: GatewayProcess, engine: FakeEngine) -> None:
    """Neither place nor maker: what is sent is encoded anew."""
    photograph = with_exif(encode(scene().rotate(45), "JPEG"), 1)
    assert b"canary-phone" in photograph
    fetching.chat(ask(pictures=(data_uri(photograph, "image/jpeg"),)))

    payload = engine.calls[-1].json["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
    sent = base64.b64decode(payload)
    assert b"canary-phone" not in sent
    assert len(Image.open(io.BytesIO(sent)).getexif()) == 0


def test_no_log_line_repeats_an_addresss_query(fetching: GatewayProcess, host: Host) -> None:
    answer = fetching.chat(ask(pictures=(url(host, "png"),)))

    assert fetching.finished(answer.headers["x-request-id"])["images"] == 1
    assert "canary-77e1" not in fetching.log()
