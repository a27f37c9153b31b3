"""A caller cannot tell from the answer what stands behind a URL: one code and one message for all that needed the network."""

import asyncio

import pytest
from tests.fakes.island import PUBLIC, Island, redirect, reply

from sightline.settings import Fetch


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


@pytest.mark.parametrize(
    "url",
    [
        "http://nobody.example.org/a.png",
        "http://inside.example.org/a.png",
        f"http://{PUBLIC}:81/a.png",
        f"http://{PUBLIC}/silence",
        f"http://{PUBLIC}/missing",
        f"http://{PUBLIC}/broken",
        f"http://{PUBLIC}/redirect",
        f"https://{PUBLIC}/a.png",
        f"http://{PUBLIC}:8080/inside",
    ],
    ids=["no name", "name inside", "closed port", "silence", "404", "not HTTP", "redirect inside", "not TLS", "500"],
)
def test_every_failure_looks_alike(island: Island, url: str) -> None:
    island.names["inside.example.org"] = [["10.0.0.1"]]
    island.pages |= {
        "/silence": silence,
        "/broken": b"SSH-2.0-OpenSSH_9.2\r\n",
        "/redirect": redirect("http://10.0.0.1/"),
        "/inside": reply(status="500 No"),
    }
    outcome = island.fetch(url, Fetch(timeout=0.5, ports=(80, 81, 443, 8080)))
    assert (outcome.code, outcome.message) == (
        "failed_to_download_image",
        "The picture could not be downloaded. Its URL should answer anybody with 200 and the picture itself, within 0.5 s.",
    )
