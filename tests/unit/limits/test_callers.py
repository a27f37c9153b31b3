"""Who a key makes its sender, and what is said to those whose key makes them nobody."""

import hashlib
from pathlib import Path

import pytest
import yaml

from sightline.errors import AuthenticationFailed, NotFound, PermissionDenied
from sightline.limits.callers import Callers, Strangers
from sightline.settings import Allowance, Limits
from sightline.telemetry.metrics import Metrics

KEY = "sl-canary-1111111111111111111111111111111111111"
NOW = 1_800_000_000.0


def entry(**fields: object) -> dict[str, object]:
    return {
        "id": "k1",
        "digest": hashlib.sha256(KEY.encode()).hexdigest(),
        "tenant": "acme",
        "created": "2026-01-01T00:00:00+00:00",
    } | fields


def callers(folder: Path, *entries: dict[str, object], limits: Limits | None = None, **more: object) -> Callers:
    file = folder / "keys.yaml"
    file.write_text(yaml.safe_dump({"keys": list(entries), **more}))
    return Callers(file, limits or Limits(), Metrics(), clock=lambda: NOW)


def bearer(key: str = KEY) -> list[bytes]:
    return [f"Bearer {key}".encode()]


def test_a_known_key_is_its_tenant_with_what_the_file_gives_it(tmp_path: Path) -> None:
    found = callers(tmp_path, entry(scopes=["chat", "metrics"], models=["m"], priority="high", cache={"ttl": 60})).identify(bearer())

    assert (found.tenant, found.key_id) == ("acme", "k1")
    assert (found.scopes, found.models) == (frozenset({"chat", "metrics"}), frozenset({"m"}))
    assert (found.priority, found.cache.ttl) == ("high", 60)


def test_limits_of_the_file_are_laid_over_the_settings_and_null_lifts_one(tmp_path: Path) -> None:
    defaults = Limits(key=Allowance(requests_per_minute=10, tokens_per_minute=100), tenant=Allowance(images_per_minute=5))
    file = callers(
        tmp_path,
        entry(limits={"requests_per_minute": 20, "tokens_per_minute": None}),
        limits=defaults,
        tenants={"acme": {"limits": {"tokens_per_day": 7}}},
    )

    found = file.identify(bearer())

    assert found.limits == Allowance(requests_per_minute=20)
    assert found.tenant_limits == Allowance(images_per_minute=5, tokens_per_day=7)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(tmp_path: Path, scheme: str) -> None:
    """RFC 9110 §11.1: the scheme is case-insensitive."""
    assert callers(tmp_path, entry()).identify([f"{scheme} {KEY}".encode()]).key_id == "k1"


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        pytest.param([], "didn't provide an API key", id="missing"),
        pytest.param([b"Bearer sl-canary-wrong"], "Incorrect API key", id="wrong"),
        pytest.param([b"Bearer " + KEY.encode()] * 2, "Several Authorization", id="two"),
        pytest.param([b"Bearer " + b"sl-canary" * 200], "longer than 512", id="giant"),
        pytest.param(["Bearer sl-canary-schlüssel".encode()], "outside ASCII", id="non-ascii"),
        pytest.param([b"Basic " + KEY.encode()], "is not `Bearer", id="basic"),
        pytest.param([b"Bearer"], "is not `Bearer", id="no key"),
        pytest.param([b"Bearer  "], "is not `Bearer", id="blank key"),
        pytest.param([KEY.encode()], "is not `Bearer", id="no scheme"),
        pytest.param([b"Bearer sl-canary sl-canary"], "is not `Bearer", id="two words"),
        pytest.param([b"Bearer " + KEY[:-1].encode()], "Incorrect API key", id="one short"),
    ],
)
def test_whoever_has_no_good_key_is_refused_and_reads_why_without_the_key(tmp_path: Path, headers: list[bytes], says: str) -> None:
    with pytest.raises(AuthenticationFailed) as refusal:
        callers(tmp_path, entry()).identify(headers)

    assert says in refusal.value.message
    assert "canary" not in refusal.value.message
    assert (refusal.value.status, refusal.value.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"revoked": True}, "has been revoked", id="revoked"),
        pytest.param({"revoked": "2026-02-01T00:00:00+00:00"}, "has been revoked", id="revoked with a date"),
        pytest.param({"expires": "2027-01-15T07:59:59+00:00"}, "has expired", id="expired a second ago"),
    ],
)
def test_a_key_that_has_ended_says_so(tmp_path: Path, fields: dict[str, object], says: str) -> None:
    with pytest.raises(AuthenticationFailed, match=says) as refusal:
        callers(tmp_path, entry(**fields)).identify(bearer())

    assert KEY not in refusal.value.message


def test_a_key_is_good_until_it_expires(tmp_path: Path) -> None:
    """NOW is 2027-01-15T08:00:00Z."""
    assert callers(tmp_path, entry(expires="2027-01-15T08:00:01+00:00")).identify(bearer()).key_id == "k1"


def test_two_digests_with_the_same_beginning_do_not_stand_for_each_other(tmp_path: Path) -> None:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    neighbour = digest[:16] + "0" * 48

    with pytest.raises(AuthenticationFailed):
        callers(tmp_path, entry(digest=neighbour)).identify(bearer())


def test_a_scope_that_the_key_lacks_is_403_and_names_it(tmp_path: Path) -> None:
    caller = callers(tmp_path, entry()).identify(bearer())

    caller.require("chat")
    with pytest.raises(PermissionDenied, match="cache:purge"):
        caller.require("cache:purge")


def test_a_model_outside_the_key_s_list_does_not_exist_for_it(tmp_path: Path) -> None:
    caller = callers(tmp_path, entry(models=["mine"])).identify(bearer())

    caller.require_model("mine")
    with pytest.raises(NotFound) as refusal:
        caller.require_model("theirs")
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (404, "model_not_found", "model")


def test_a_key_without_a_list_may_use_every_model(tmp_path: Path) -> None:
    assert callers(tmp_path, entry()).identify(bearer()).may_use("any")


@pytest.mark.parametrize(
    ("address", "known_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", "local"),
    ],
)
def test_strangers_are_told_apart_by_address(address: str, known_as: str) -> None:
    limits = Limits(key=Allowance(requests_per_minute=3))

    stranger = Strangers(limits, frozenset({"chat"})).identify([b"Bearer whatever"], address)

    assert (stranger.key_id, stranger.tenant, stranger.limits) == (known_as, "anonymous", limits.key)
