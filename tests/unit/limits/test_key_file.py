"""A key file is taken whole or refused in one line that names the entry and the fix."""

import pytest
import yaml

from sightline.limits.keyfile import KeyFileError, parse

GOOD = {"id": "k1", "digest": "a" * 64, "tenant": "acme", "created": "2026-01-01"}


def text(*entries: object, **more: object) -> str:
    return yaml.safe_dump({"keys": list(entries), **more})


def test_a_file_of_plain_entries_is_read() -> None:
    file = parse(text(GOOD, GOOD | {"id": "k2", "digest": "b" * 64, "limits": {"requests_per_minute": 60}}), "keys.yaml")

    assert [entry.id for entry in file.keys] == ["k1", "k2"]
    assert file.keys[1].limits.requests_per_minute == 60


def test_json_is_read_too() -> None:
    line = '{"keys": [{"id": "k1", "digest": "%s", "tenant": "acme", "created": "2026-01-01T00:00:00Z", "revoked": true}]}'

    assert parse(line % ("a" * 64), "keys.json").keys[0].revoked is True


def test_a_file_without_keys_lets_nobody_in_and_is_right() -> None:
    assert parse("keys: []", "k").keys == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("", "should hold a list `keys:`", id="empty"),
        pytest.param("keys", "should hold a list `keys:`", id="a word"),
        pytest.param("keys: [", "is not YAML (line 1)", id="cut off"),
        pytest.param("keys: []\nkeys: []", "`keys` stands twice", id="doubled list"),
        pytest.param("keys: {}", "keys: input should be a valid tuple", id="not a list"),
        pytest.param("tenants: {}", "keys is missing", id="no list"),
        pytest.param("keys: [2026-02-31]", "a date in it does not exist", id="impossible date"),
        pytest.param("[" * 5000, "nested too deeply", id="nested"),
        pytest.param(text(GOOD | {"tennant": "x"}), "keys[0] (k1): tennant is not a field; did you mean tenant?", id="unknown field"),
        pytest.param(text(GOOD | {"mask": ["phone"]}), "keys[0] (k1): mask is not a field; mask stands under safety", id="misplaced field"),
        pytest.param(
            text(GOOD, tenants={"acme": {"tokens_per_day": 1}}),
            "tenants.acme.tokens_per_day is not a field; tokens_per_day stands under limits",
            id="tenant's misplaced field",
        ),
        pytest.param(
            text(GOOD | {"limits": {"request_per_minute": 1}}),
            "keys[0] (k1): limits.request_per_minute is not a field; did you mean requests_per_minute?",
            id="unknown limit",
        ),
        pytest.param(text(GOOD | {"limits": {"requests_per_minute": "60"}}), "limits.requests_per_minute: input should be a", id="text"),
        pytest.param(text(GOOD | {"limits": {"requests_per_minute": -1}}), "greater than or equal to 0", id="negative limit"),
        pytest.param(text(GOOD | {"limits": {"requests_per_minute": True}}), "limits.requests_per_minute: input should be a", id="yes"),
        pytest.param(text({k: v for k, v in GOOD.items() if k != "tenant"}), "keys[0] (k1): tenant is missing", id="cut entry"),
        pytest.param(text(GOOD | {"digest": "sl-canary"}), "keys[0] (k1): digest: string should match", id="a key for a digest"),
        pytest.param(text(GOOD | {"scopes": "chat"}), "keys[0] (k1): scopes: input should be a valid tuple", id="scope not a list"),
        pytest.param(text(GOOD | {"scopes": ["admin"]}), "keys[0] (k1): scopes.0: input should be 'chat'", id="unknown scope"),
        pytest.param(text(GOOD | {"expires": "soon"}), "keys[0] (k1): expires: invalid isoformat", id="not a date"),
        pytest.param(text(GOOD, GOOD | {"id": "k2"}), "keys[1] (k2): digest is that of keys[0] too", id="twin digest"),
        pytest.param(text(GOOD, GOOD | {"digest": "b" * 64}), "keys[1] (k1): id is that of keys[0] too", id="twin id"),
        pytest.param(text("k1"), "keys[0]: the entry: input should be a valid dictionary", id="a word for an entry"),
        pytest.param(text(GOOD, tenants={"acme": {"limit": {}}}), "tenants.acme.limit is not a field", id="tenant's unknown field"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_says_where_and_how(content: str, says: str) -> None:
    with pytest.raises(KeyFileError) as refusal:
        parse(content, "keys.yaml")

    message = str(refusal.value)
    assert message.startswith("keys.yaml: ")
    assert says in message
    assert "\n" not in message
    assert "canary" not in message
