"""A URL is read strictly and by one parser: what is dialled is built from the parts that were checked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.bad_urls import BAD_URLS

from sightline.pictures.addresses import Addresses
from sightline.pictures.urls import NotAllowed, Target, Urls
from sightline.settings import Fetch


def judge(url: str, **settings: object) -> Target:
    fetch = Fetch.model_validate(settings)
    return Urls(fetch, Addresses(fetch.allow_networks)).judge(url)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://pics.example.org/a.png", "http://pics.example.org/a.png"),
        ("HTTPS://Pics.Example.ORG:443/A.png", "https://pics.example.org/A.png"),
        ("https://pics.example.org", "https://pics.example.org/"),
        ("https://pics.example.org?x=1", "https://pics.example.org/?x=1"),
        ("http://pics.example.org:443/a.png", "http://pics.example.org:443/a.png"),
        ("https://pics.example.org/a.png#part", "https://pics.example.org/a.png"),
        ("https://pics.example.org/%2e%2e/a.png?k=%20%2F&s=a+b/c@d:e", "https://pics.example.org/%2e%2e/a.png?k=%20%2F&s=a+b/c@d:e"),
        ("https://pics.example.org/ü/日.png?q=é", "https://pics.example.org/%C3%BC/%E6%97%A5.png?q=%C3%A9"),
        ("https://bücher.example.org/a.png", "https://xn--bcher-kva.example.org/a.png"),
        ("https://a_b.example.org/a.png", "https://a_b.example.org/a.png"),
        ("http://93.184.215.14/a.png", "http://93.184.215.14/a.png"),
        ("http://[2606:4700:0:0::1]/a.png", "http://[2606:4700::1]/a.png"),
    ],
)
def test_a_good_url_is_asked_as_it_is(url: str, asked: str) -> None:
    assert str(judge(url).url) == asked


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS.keys())
def test_a_bad_one_is_refused(url: str) -> None:
    with pytest.raises(NotAllowed):
        judge(url)


@given(st.text(max_size=30))
def test_whatever_stands_for_a_host_is_refused_or_is_what_is_asked(host: str) -> None:
    try:
        target = judge(f"http://{host}/a.png")
    except NotAllowed:
        return
    assert target.url.raw_host == target.host
    assert target.host.isascii()


@pytest.mark.parametrize(
    "url", ["http://minio:9000/a.png", "http://MinIO:9000/a.png", "http://a.pics.svc.cluster.local/a.png", "http://10.0.0.5/a.png"]
)
def test_a_host_that_the_operator_has_named_is_internal(url: str) -> None:
    settings = {"allow_hosts": ["minio", ".pics.svc.cluster.local", "10.0.0.5"], "ports": [80, 9000]}
    assert judge(url, **settings).internal


@pytest.mark.parametrize("url", ["http://minio.local/a.png", "http://pics.svc.cluster.local/a.png", "http://evilminio/a.png"])
def test_a_host_that_only_resembles_it_is_not(url: str) -> None:
    with pytest.raises(NotAllowed):
        judge(url, allow_hosts=["minio", ".pics.svc.cluster.local"])
