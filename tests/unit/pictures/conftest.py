from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sightline.pictures.prepare import Pictures
from sightline.settings import Images
from sightline.store.base import Store
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import PictureSource

Make = Callable[..., Pictures]


async def nothing_to_fetch(source: PictureSource) -> bytes:
    raise AssertionError(f"{source.param} was fetched")


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Builds `Pictures`, and closes them at the end."""
    built: list[Pictures] = []

    def build(metrics: Metrics | None = None, store: Store | None = None, fetch: Any = nothing_to_fetch, **settings: Any) -> Pictures:
        built.append(Pictures(Images(**settings), metrics or Metrics(), fetch, store))
        return built[-1]

    yield build
    for pictures in built:
        await pictures.close()
