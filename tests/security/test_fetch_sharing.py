"""Who asks for the same URL at once shares one download; who asks a moment later gets the kept bytes, where the host allows it."""

import asyncio

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.fakes.island import PICTURE, PUBLIC, Island, redirect, reply, source
from tests.fakes.until import until

from sightline.errors import PictureRefused
from sightline.pictures.intake import Intake
from sightline.settings import Fetch, Images
from sightline.telemetry.metrics import Metrics

URL = f"http://{PUBLIC}/page"


class Gate:
    """A page that is answered when it is opened."""

    def __init__(self, answer: bytes) -> None:
        self.opened = asyncio.Event()
        self._answer = answer

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        await self.opened.wait()
        writer.write(self._answer)


def fetched(island: Island, *urls: str, **fetch: float) -> list[bytes]:
    async def one_after_another() -> list[bytes]:
        intake = island.intake(Images(fetch=Fetch.model_validate({"timeout": 5, **fetch})))
        try:
            return [await intake(source(url)) for url in urls]
        finally:
            await intake.close()

    return island.run(one_after_another())


def test_twenty_at_once_are_one_request(island: Island) -> None:
    async def crowd() -> list[bytes]:
        island.pages["/page"] = gate = Gate(reply())
        intake = island.intake(Images())
        asking = [asyncio.ensure_future(intake(source(URL))) for _ in range(20)]
        await until(lambda: _true(island.heads))
        gate.opened.set()
        answers = await asyncio.gather(*asking)
        await intake.close()
        return answers

    assert island.run(crowd()) == [PICTURE] * 20
    assert len(island.heads) == 1


def test_the_first_one_leaving_does_not_hurt_the_others(island: Island) -> None:
    async def crowd() -> bytes:
        island.pages["/page"] = gate = Gate(reply())
        intake = island.intake(Images())
        first, second = (asyncio.ensure_future(intake(source(URL))) for _ in range(2))
        await until(lambda: _true(island.heads))
        first.cancel()
        await asyncio.wait({first})
        gate.opened.set()
        answer = await second
        await intake.close()
        return answer

    assert island.run(crowd()) == PICTURE


def test_the_last_one_leaving_ends_the_download(island: Island) -> None:
    async def alone() -> None:
        island.pages["/page"] = Gate(reply())
        intake = island.intake(Images())
        asking = asyncio.ensure_future(intake(source(URL)))
        await until(lambda: _true(island.heads))
        assert not island.left.is_set()
        asking.cancel()
        await asyncio.wait_for(island.left.wait(), 5)
        await intake.close()

    island.run(alone())


def test_a_failure_is_everybodys_and_is_not_kept(island: Island) -> None:
    async def crowd() -> list[str | None]:
        island.pages["/page"] = gate = Gate(reply(status="500 No"))
        intake = island.intake(Images())
        asking = [asyncio.ensure_future(intake(source(URL))) for _ in range(3)]
        await until(lambda: _true(island.heads))
        gate.opened.set()
        refusals = await asyncio.gather(*asking, return_exceptions=True)
        island.pages["/page"] = reply()
        assert await intake(source(URL)) == PICTURE
        await intake.close()
        return [refused.code for refused in refusals if isinstance(refused, PictureRefused)]

    assert island.run(crowd()) == ["failed_to_download_image"] * 3


@pytest.mark.parametrize(
    ("headers", "requests"),
    [
        ((), 1),
        (("Cache-Control: public, max-age=60",), 1),
        (("Cache-Control: max-age=0, s-maxage=60",), 1),
        (("Cache-Control: no-store",), 2),
        (("Cache-Control: No-Store, max-age=60",), 2),
        (("Cache-Control: private",), 2),
        (('Cache-Control: private="x", max-age=60',), 2),
        (("Cache-Control: no-cache",), 2),
        (("Cache-Control: max-age=0",), 2),
        (("Cache-Control: max-age=nonsense",), 2),
        (("Cache-Control: max-age=60", "Age: 60"), 2),
        (("Vary: *",), 2),
    ],
    ids=str,
)
def test_the_bytes_are_kept_as_the_host_allows(island: Island, headers: tuple[str, ...], requests: int) -> None:
    island.pages["/page"] = reply(PICTURE, *headers)
    assert fetched(island, URL, URL) == [PICTURE, PICTURE]
    assert len(island.heads) == requests


def test_a_redirect_that_must_not_be_kept_is_not(island: Island) -> None:
    island.pages["/from"] = reply(b"", "Cache-Control: no-store", "Location: /a.png", status="302 Found")
    fetched(island, f"http://{PUBLIC}/from", f"http://{PUBLIC}/from")
    assert len(island.heads) == 4


def test_another_query_is_another_url(island: Island) -> None:
    fetched(island, f"{URL.replace('page', 'a.png')}?1", f"{URL.replace('page', 'a.png')}?2")
    assert len(island.heads) == 2


def test_keeping_can_be_turned_off(island: Island) -> None:
    island.pages["/page"] = reply()
    fetched(island, URL, URL, keep_seconds=0)
    fetched(island, URL, URL, keep_bytes=0)
    assert len(island.heads) == 4


def test_no_more_is_kept_than_allowed_and_the_oldest_goes_first(island: Island) -> None:
    island.pages |= {f"/{n}": reply(bytes(400)) for n in range(3)}
    urls = [f"http://{PUBLIC}/{n}" for n in (0, 1, 2, 1, 2, 0)]
    fetched(island, *urls, keep_bytes=1000)
    assert [head.split()[1] for head in island.heads] == [b"/0", b"/1", b"/2", b"/0"]


def test_what_is_kept_goes_when_its_time_is_over(island: Island) -> None:
    async def wait_and_ask() -> int:
        intake = island.intake(Images(fetch=Fetch(keep_seconds=0.05)))
        island.pages["/page"] = reply()

        async def asked_again() -> bool:
            await intake(source(URL))
            return len(island.heads) > 1

        await until(asked_again)
        await intake.close()
        return len(island.heads)

    assert island.run(wait_and_ask()) == 2


def test_outcomes_are_counted(island: Island) -> None:
    async def some() -> CollectorRegistry:
        metrics = Metrics()
        intake = Intake(Images(), metrics, tls=island.tls)
        island.pages["/from"] = redirect("http://10.0.0.1/")
        urls = ["a.png", "a.png", "missing", "from"]
        await asyncio.gather(intake(source("http://10.0.0.1/")), return_exceptions=True)
        for path in urls:
            await asyncio.gather(intake(source(f"http://{PUBLIC}/{path}")), return_exceptions=True)
        await intake.close()
        return metrics.registry

    registry = island.run(some())
    counted = {
        result: registry.get_sample_value("sightline_image_fetch_total", {"result": result})
        for result in ("fetched", "kept", "failed", "refused")
    }
    assert counted == {"fetched": 1, "kept": 1, "failed": 2, "refused": 1}


async def _true(value: object) -> object:
    return value
