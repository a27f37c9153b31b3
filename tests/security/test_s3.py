"""Pictures from buckets: an object comes as it was put there; what a caller may not name is refused before the endpoint hears of it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiobotocore.session import get_session  # type: ignore[import-untyped]  # ships no types
from moto.server import ThreadedMotoServer
from tests.fakes.island import PICTURE, source

from sightline.errors import PictureRefused
from sightline.pictures.intake import Intake
from sightline.settings import S3, Fetch, Images, load
from sightline.telemetry.metrics import Metrics

OBJECTS = {
    "a.png": PICTURE,
    "dir/with space/ü%2e%2e?x#y+z&.png": b"odd",
    "exact": bytes(1000),
    "large": bytes(1001),
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A real S3 server (moto's) with a bucket `pics` that has a few objects, and one `private`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    asyncio.run(_fill(f"http://{host}:{port}"))
    yield f"http://{host}:{port}"
    server.stop()


async def _fill(endpoint: str) -> None:
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    async with get_session().create_client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys) as client:
        for bucket in ("pics", "private"):
            await client.create_bucket(Bucket=bucket)
            for key, body in OBJECTS.items():
                await client.put_object(Bucket=bucket, Key=key, Body=body)
        await client.put_object(Bucket="pics", Key="zipped", Body=b"x", ContentEncoding="gzip")


async def fetched(url: str, endpoint: str | None, fetch: Fetch | None = None, **s3: object) -> bytes:
    settings = S3.model_validate({"endpoint": endpoint, "access_key": "k", "secret_key": "s", **s3})
    intake = Intake(Images(max_bytes=1000, fetch=fetch or Fetch(), s3=settings), Metrics())
    try:
        return await intake(source(url))
    finally:
        await intake.close()


async def code(answer: Awaitable[bytes]) -> str | None:
    with pytest.raises(PictureRefused) as refused:
        await answer
    return refused.value.code


@pytest.mark.parametrize("key", [key for key in OBJECTS if key != "large"])
async def test_an_object_comes_as_it_is_named(endpoint: str, key: str) -> None:
    assert await fetched(f"s3://pics/{key}", endpoint) == OBJECTS[key]


async def test_the_scheme_may_be_in_capitals(endpoint: str) -> None:
    assert await fetched("S3://pics/a.png", endpoint) == PICTURE


async def test_an_object_that_is_too_large_is_refused_as_that(endpoint: str) -> None:
    assert await code(fetched("s3://pics/large", endpoint)) == "image_file_too_large"


@pytest.mark.parametrize("url", ["s3://pics/missing", "s3://nobody/a.png", "s3://pics/zipped"])
async def test_what_cannot_be_had_is_a_failed_download(endpoint: str, url: str) -> None:
    assert await code(fetched(url, endpoint)) == "failed_to_download_image"


BAD = [
    "s3://pics",
    "s3://pics/",
    "s3:///a.png",
    "s3://pi_cs/a.png",
    "s3://PICS/a.png",
    "s3://u@pics/a.png",
    "s3://pics:80/a.png",
    "s3://p..s/a.png",
]
BAD += [
    "s3://pics/../private/a.png",
    "s3://pics/x/../../private/a.png",
    "s3://pics/./a.png",
    "s3://pics//a.png",
    "s3://../pics/a.png",
    "s3://pics/..",
]
BAD += [
    "s3://pics/a\r\nHost: x",
    "s3://pics/a\x00",
    "s3://pics\\..\\private/a.png",
    "s3://pics/\ud800",
    f"s3://pics/{'a' * 1025}",
    "s3://" + "a" * 64 + "/a",
]


@pytest.mark.parametrize("url", BAD)
async def test_a_url_that_is_no_bucket_and_key_is_refused(url: str) -> None:
    assert await code(fetched(url, "http://127.0.0.1:9")) == "invalid_image_url"


async def test_only_the_buckets_that_are_listed_may_be_named(endpoint: str) -> None:
    assert await fetched("s3://pics/a.png", endpoint, buckets=["pics"]) == PICTURE
    assert await code(fetched("s3://private/a.png", endpoint, buckets=["pics"])) == "invalid_image_url"


async def test_without_an_endpoint_they_are_refused() -> None:
    assert await code(fetched("s3://pics/a.png", None)) == "invalid_image_url"


async def test_an_endpoint_that_is_gone_is_a_failed_download() -> None:
    assert await code(fetched("s3://pics/a.png", "http://127.0.0.1:9")) == "failed_to_download_image"


async def test_an_endpoint_that_is_silent_costs_no_more_than_the_limit() -> None:
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    began = asyncio.get_running_loop().time()
    assert await code(fetched("s3://pics/a.png", f"http://127.0.0.1:{port}", Fetch(timeout=1))) == "failed_to_download_image"
    assert asyncio.get_running_loop().time() - began < 1.5
    await asyncio.wait_for(left.wait(), 5)
    server.close()


async def test_no_proxy_of_the_environment_is_asked(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await fetched("s3://pics/a.png", endpoint) == PICTURE


async def test_what_is_signed_with_comes_from_the_settings_or_their_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    heads: list[bytes] = []
    server = await asyncio.start_server(_note(heads), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    environ = {
        "SIGHTLINE_IMAGES__S3__ENDPOINT": f"http://127.0.0.1:{port}",
        "SIGHTLINE_IMAGES__S3__ACCESS_KEY": "AKIDSETTING",
        "SIGHTLINE_IMAGES__S3__SECRET_KEY_FILE": str(tmp_path / "secret"),
        "SIGHTLINE_IMAGES__S3__REGION": "eu-west-7",
    }
    intake = Intake(load(environ=environ).images, Metrics())
    await asyncio.gather(intake(source("s3://pics/a.png")), return_exceptions=True)
    await intake.close()
    server.close()
    assert b"Credential=AKIDSETTING/" in heads[0]
    assert b"/eu-west-7/s3/" in heads[0]
    assert b"from a file" not in b"".join(heads)


async def test_without_them_the_clients_own_chain_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "AWS_ACCESS_KEY_ID", "AKIDCHAIN")
    monkeypatch.setitem(os.environ, "AWS_SECRET_ACCESS_KEY", "s")
    heads: list[bytes] = []
    server = await asyncio.start_server(_note(heads), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await code(fetched("s3://pics/a.png", f"http://127.0.0.1:{port}", access_key=None, secret_key=None))
    server.close()
    assert b"Credential=AKIDCHAIN/" in heads[0]


def _note(heads: list[bytes]) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    return serve
