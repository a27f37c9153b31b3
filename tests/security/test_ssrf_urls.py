"""No packet leaves for a URL that is written to deceive."""

import pytest
from tests.fakes.bad_urls import BAD_URLS
from tests.fakes.island import Island


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_bad_url_is_refused_before_anything_is_asked(island: Island, url: str) -> None:
    island.names["pics.example.org"] = [["93.184.215.14"]]
    assert island.fetch(url).code == "invalid_image_url"
    assert island.dialled == []
