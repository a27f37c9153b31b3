"""What a picture host is sent: the request for the picture, and nothing of the machine's or of other callers'."""

from pathlib import Path

import pytest
from tests.fakes.island import KEEP_ALIVE, PICTURE, PUBLIC, Island, redirect, reply, source

from sightline.settings import Fetch, Images


def headers(head: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if line)


def test_the_request_says_what_it_wants_and_nothing_else(island: Island) -> None:
    island.fetch(f"http://{PUBLIC}/a.png?signature=x%2F")
    assert island.heads[0].startswith(b"GET /a.png?signature=x%2F HTTP/1.1\r\n")
    assert headers(island.heads[0]).keys() == {"host", "accept", "accept-encoding", "user-agent"}
    assert headers(island.heads[0])["accept-encoding"] == "identity"


def test_no_proxy_of_the_environment_is_asked(island: Island, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://8.8.8.8:8080")
    assert island.fetch(f"http://{PUBLIC}/a.png").data == PICTURE
    assert island.dialled == [(PUBLIC, 80)]


def test_no_password_of_the_environment_is_sent(island: Island, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine {PUBLIC} login operator password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    island.fetch(f"http://{PUBLIC}/a.png")
    assert "authorization" not in headers(island.heads[0])


def test_no_cookie_comes_back(island: Island) -> None:
    island.pages["/from"] = reply(b"", "Set-Cookie: who=me; Path=/", "Location: /a.png", status="302 Found")
    assert island.fetch(f"http://{PUBLIC}/from").data == PICTURE
    assert all("cookie" not in headers(head) for head in island.heads)


def test_no_referer_tells_where_a_redirect_came_from(island: Island) -> None:
    island.pages["/from"] = redirect("http://8.8.8.8/a.png")
    island.fetch(f"http://{PUBLIC}/from?signature=secret")
    assert all("referer" not in headers(head) for head in island.heads)


def test_a_connection_serves_the_next_picture_of_its_host(island: Island) -> None:
    island.pages |= {f"/{n}.png": reply(PICTURE, KEEP_ALIVE.decode()) for n in range(3)}

    async def three() -> None:
        intake = island.intake(Images(fetch=Fetch(timeout=5)))
        for number in range(3):
            await intake(source(f"http://{PUBLIC}/{number}.png"))
        await intake.close()

    island.run(three())
    assert len(island.heads) == 3
    assert island.dialled == [(PUBLIC, 80)]


def test_urls_can_be_turned_off(island: Island) -> None:
    assert island.fetch(f"http://{PUBLIC}/a.png", Fetch(enabled=False)).code == "invalid_image_url"
    assert island.dialled == []


def test_the_operators_own_host_is_fetched_from_inside(island: Island) -> None:
    island.names |= {"minio.internal": [["10.0.0.5"]]}
    assert island.fetch("http://minio.internal:8080/a.png", Fetch(allow_hosts=("minio.internal",), ports=(8080,))).data == PICTURE
    assert island.dialled == [("10.0.0.5", 8080)]


def test_but_not_from_a_metadata_service(island: Island) -> None:
    island.names |= {"minio.internal": [["169.254.169.254"]]}
    assert island.fetch("http://minio.internal/a.png", Fetch(allow_hosts=("minio.internal",))).code == "failed_to_download_image"
    assert island.dialled == []


def test_a_redirect_from_the_operators_host_has_a_strangers_rights(island: Island) -> None:
    island.names |= {"minio.internal": [["10.0.0.5"]], "pics.example.org": [["10.0.0.6"]]}
    island.pages["/from"] = redirect("http://pics.example.org/a.png")
    assert island.fetch("http://minio.internal/from", Fetch(allow_hosts=("minio.internal",))).code == "failed_to_download_image"
    assert island.dialled == [("10.0.0.5", 80)]


def test_the_operators_own_network_is_fetched_from(island: Island) -> None:
    assert island.fetch("http://10.0.0.5/a.png", Fetch(allow_networks=("10.0.0.0/24",))).data == PICTURE
    assert island.fetch("http://10.0.1.5/a.png", Fetch(allow_networks=("10.0.0.0/24",))).code == "invalid_image_url"
