"""What the tests of guarded fetching ask for by name."""

from collections.abc import Iterator

import pytest
from tests.fakes.island import Island


@pytest.fixture(scope="session")
def _island() -> Iterator[Island]:
    island = Island()
    yield island
    island.stop()


@pytest.fixture
def island(_island: Island) -> Island:
    """A machine that answers at every address there is, with nothing said to it yet."""
    _island.reset()
    return _island
