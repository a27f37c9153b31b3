"""While many large pictures are prepared the gateway goes on answering others: decoding is never the event loop's work."""

import asyncio
import io
import time

from PIL import Image
from tests.caching import cache, client_of, crowd
from tests.serving import GatewayProcess
from tests.shapes import ask, data_uri

MEGAPIXELS_12 = (4000, 3000)
LONGEST = 0.5  # seconds: sixteen decoded on the loop would be more than a second; the promise is 50 ms, on a machine of its own


def photographs(count: int) -> list[str]:
    """12 MP each; a byte after a JPEG's end is not decoded, and makes it one that was not seen before."""
    grain = Image.effect_noise((200, 150), 40).resize(MEGAPIXELS_12)
    file = io.BytesIO()
    Image.merge("RGB", (grain, grain, grain)).save(file, "JPEG", quality=70)
    return [data_uri(file.getvalue() + bytes([number]), "image/jpeg") for number in range(count)]


async def test_others_are_answered_meanwhile(cached: GatewayProcess) -> None:
    """Sixteen photographs in one request; a health check is asked again and again until their answer is there."""
    body = ask(pictures=tuple(photographs(16)))
    longest = 0.0
    async with client_of(cached) as other, asyncio.TaskGroup() as group:
        answer = group.create_task(crowd(cached, body))
        while not answer.done():
            began = time.perf_counter()
            assert (await other.get("/health/live")).status_code == 200
            longest = max(longest, time.perf_counter() - began)
            await asyncio.sleep(0.005)

    (answered,) = answer.result()
    assert cache(answered) == "MISS"
    assert longest < LONGEST
