"""The pictures of a request: in order, prepared once, refused together, and cheap when they come again."""

import asyncio
import threading

import pytest
from loadtests.pictures.samples import encode, photo
from tests.unit.pictures.conftest import Make
from tests.unit.pictures.rig import mosaic, prepared, source
from tests.unit.pictures.test_memo import Shelf

from sightline.errors import PictureRefused, Unavailable
from sightline.pictures import imaging
from sightline.pictures.imaging import Picture
from sightline.pictures.memo import Identity
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import PictureSource

ONE, TWO = encode(mosaic(seed=1), "PNG"), encode(mosaic(seed=2), "PNG")
LARGE = encode(photo(1500, 1000), "JPEG")


def decodes(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("sightline_image_prepare_seconds_count")


async def test_order_is_kept_and_what_is_needed_is_there(make: Make) -> None:
    pictures = make()
    large, small = await pictures.identify([source(LARGE), source(ONE, 1)])
    assert [prepared(LARGE).image_hash, prepared(ONE).image_hash] == [large.image_hash, small.image_hash]
    assert (len(LARGE), (1500, 1000), (1024, 683)) == (large.sent_bytes, large.original, (large.width, large.height))
    assert prepared(LARGE) == await pictures.prepare(large)


async def test_by_url_it_is_the_same_picture(make: Make) -> None:
    async def fetch(wanted: PictureSource) -> bytes:
        assert wanted.url == "https://pictures.example/1"
        return ONE

    remote = PictureSource(0, "p", None, None, "https://pictures.example/1")
    by_url, by_data = await make(fetch=fetch).identify([remote, source(ONE, 1)])
    assert by_url.image_hash == by_data.image_hash


async def test_nothing_is_fetched_for_a_request_that_is_refused_anyway(make: Make) -> None:
    """The `make` fixture's fetch fails the test when it is called."""
    with pytest.raises(PictureRefused) as refused:
        await make().identify([PictureSource(0, "first", None, None, "https://pictures.example/1"), source(b"<svg/>", 1)])
    assert refused.value.param == source(b"", 1).param


async def test_no_pictures(make: Make) -> None:
    assert await make().identify([]) == ()


async def test_again_it_is_not_decoded(make: Make) -> None:
    metrics = Metrics()
    pictures = make(metrics)
    (first,) = await pictures.identify([source(LARGE)])
    (again,) = await pictures.identify([source(LARGE)])
    assert await pictures.prepare(first) is await pictures.prepare(again)
    assert decodes(metrics) == 1


async def test_another_detail_is_another_preparation(make: Make) -> None:
    pictures = make()
    low, high = await pictures.identify([source(LARGE, detail="low"), source(LARGE, 1, detail="high")])
    assert ((low.width, low.height), (high.width, high.height)) == ((512, 342), (1500, 1000))


async def test_a_crowd_shares_one_preparation(make: Make) -> None:
    metrics = Metrics()
    pictures = make(metrics)
    crowd = await asyncio.gather(*(pictures.identify([source(LARGE)]) for _ in range(20)))
    assert len({one.image_hash for (one,) in crowd}) == 1
    assert decodes(metrics) == 1


async def test_the_first_to_leave_does_not_hurt_the_others(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    prepare = imaging.prepare

    def slow(*arguments: object) -> Picture:
        begun.set()
        assert go.wait(10)
        return prepare(*arguments)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(imaging, "prepare", slow)
    pictures = make()
    leaving = asyncio.create_task(pictures.identify([source(ONE)]))
    staying = asyncio.create_task(pictures.identify([source(ONE)]))
    assert await asyncio.to_thread(begun.wait, 10)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    go.set()
    (identified,) = await staying
    assert prepared(ONE).image_hash == identified.image_hash


async def test_when_all_have_left_a_newcomer_starts_afresh(make: Make) -> None:
    pictures = make()
    leaving = asyncio.create_task(pictures.identify([source(ONE)]))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    (identified,) = await pictures.identify([source(ONE)])
    assert prepared(ONE).image_hash == identified.image_hash


async def test_a_shared_refusal_names_each_ones_own_part(make: Make) -> None:
    cut = ONE[:60] + bytes(len(ONE) - 72) + ONE[-12:]
    pictures = make()
    refusals = await asyncio.gather(*(pictures.identify([source(cut, index)]) for index in range(3)), return_exceptions=True)
    assert [source(b"", index).param for index in range(3)] == [getattr(refused, "param", None) for refused in refusals]


async def test_another_replica_knows_it_from_the_store(make: Make) -> None:
    """Identified there without a decode; decoded only when the engine wants it."""
    store, metrics = Shelf(), Metrics()
    here, there = make(store=store), make(metrics, store=store)
    (known,) = await here.identify([source(LARGE)])
    await here.close()
    (recalled,) = await there.identify([source(LARGE)])
    assert (known.image_hash, known.width, known.height) == (recalled.image_hash, recalled.width, recalled.height)
    assert decodes(metrics) == 0
    assert (await there.prepare(recalled)).image_hash == known.image_hash
    assert decodes(metrics) == 1


async def test_a_store_that_fails_costs_nothing_but_the_decode(make: Make) -> None:
    store = Shelf()
    store.broken = True
    (identified,) = await make(store=store).identify([source(ONE)])
    assert prepared(ONE).image_hash == identified.image_hash


async def test_a_store_that_lies_is_found_out_before_the_engine_answers(make: Make) -> None:
    """Another picture's identity with a good checksum: the answer would be kept under the wrong picture."""
    store = Shelf()
    here, there = make(store=store), make(store=store)
    (known,) = await here.identify([source(ONE)])
    await here.close()
    (key,) = store.held
    store.held[key] = Identity(prepared(TWO).image_hash, 40, 24).pack(known.digest)
    (fooled,) = await there.identify([source(ONE)])
    with pytest.raises(Unavailable):
        await there.prepare(fooled)
    (right,) = await there.identify([source(ONE)])
    assert prepared(ONE).image_hash == right.image_hash


async def test_trusted_pictures_are_not_opened(make: Make) -> None:
    """Only the header is read: one whose pixels are broken goes on, byte for byte."""
    broken = ONE[:60] + bytes(len(ONE) - 72) + ONE[-12:]
    metrics = Metrics()
    pictures = make(metrics, prepare="never")
    one, other = await pictures.identify([source(broken), source(ONE, 1)])
    picture = await pictures.prepare(one)
    assert (broken, True, "image/png") == (picture.encoded, picture.as_sent, picture.media_type)
    assert one.image_hash != other.image_hash
    assert decodes(metrics) == 0


async def test_trusted_pictures_keep_to_the_limits(make: Make) -> None:
    with pytest.raises(PictureRefused) as refused:
        await make(prepare="never", max_pixels=100).identify([source(ONE)])
    assert refused.value.code == "image_too_large"


async def test_an_upload_is_the_same_picture(make: Make) -> None:
    assert prepared(LARGE, "low") == await make().take(LARGE, "low")


async def test_sizes_are_measured(make: Make) -> None:
    metrics = Metrics()
    await make(metrics).identify([source(ONE)])
    assert metrics.registry.get_sample_value("sightline_image_bytes_sum") == len(ONE)
    assert metrics.registry.get_sample_value("sightline_image_pixels_sum") == 40 * 24
