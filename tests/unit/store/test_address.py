"""Which URLs name a store, what they mean, and how wrong ones are told."""

from pathlib import Path

import pytest

from sightline.settings import Cache, SettingsError
from sightline.store.address import Address, Tls, parse
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics

RIGHT = {
    "memory://": Address("memory"),
    "redis://cache": Address("server", (("cache", 6379),)),
    "redis://cache:7000/2": Address("server", (("cache", 7000),), db=2),
    "redis://:p%40ss@cache/0": Address("server", (("cache", 6379),), password="p@ss"),
    "redis://me:p%3A%2F@[::1]:7000": Address("server", (("::1", 7000),), "me", "p:/"),
    "rediss://cache": Address("server", (("cache", 6379),), tls=Tls()),
    "rediss://cache?ca=/a.pem&cert=/c.pem&key=/k.pem": Address("server", (("cache", 6379),), tls=Tls("/a.pem", "/c.pem", "/k.pem")),
    "redis+sentinel://a,b:7000/pictures/1": Address("sentinel", (("a", 26379), ("b", 7000)), service="pictures", db=1),
    "rediss+sentinel://:x@a/pictures": Address("sentinel", (("a", 26379),), password="x", service="pictures", tls=Tls()),
    "redis+cluster://a,b:7000": Address("cluster", (("a", 6379), ("b", 7000))),
    "rediss+cluster://u:p@a": Address("cluster", (("a", 6379),), "u", "p", tls=Tls()),
}
WRONG = {
    "": "must begin with",
    "cache:6379": "must begin with",
    "http://cache": "must begin with",
    "redis://": "a host is missing",
    "redis://secret@": "a host is missing",
    "redis://:secret@a,b": "takes one host",
    "redis://:secret@a:port": "a port is not a number",
    "redis://:secret@a:99999": "a port is not a number",
    "redis://:secret@[::1": "not a URL",
    "redis://:secret@a/one": "the database must be a number",
    "redis://:secret@a/1/2": "the database must be a number",
    "redis://:secret@a?ca=/x": "must begin with rediss",
    "rediss://:secret@a?secret=1": "takes no options but",
    "redis+sentinel://:secret@a": "name the service",
    "redis+sentinel://:secret@a/": "name the service",
    "redis+sentinel://:secret@a/service/x": "the database must be a number",
    "redis+cluster://:secret@a,": "a host is missing",
    "redis+cluster://:secret@a/1": "has one database",
    "memory://big": "takes nothing after it",
}


@pytest.mark.parametrize("url", RIGHT)
def test_what_a_url_means(url: str) -> None:
    """Hosts, ports, credentials, database, service and TLS are read as documented."""
    assert parse(url) == RIGHT[url]


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_told_in_one_line(url: str) -> None:
    """The message says what is wrong and never repeats the URL, which may hold a password."""
    with pytest.raises(SettingsError) as refused:
        parse(url)
    message = str(refused.value)
    assert message.startswith("store: ")
    assert WRONG[url] in message
    assert "\n" not in message
    assert "secret" not in message


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster", "rediss+sentinel"])
def test_tls_files_that_are_not_there_are_told_at_start(scheme: str, tmp_path: Path) -> None:
    """Opening the store reads the files, so that a wrong path stops the start and not the first request."""
    with pytest.raises(SettingsError, match="cannot be read"):
        open_store(f"{scheme}://a/{'service' if 'sentinel' in scheme else ''}?ca={tmp_path / 'none.pem'}", Cache(), Metrics())
