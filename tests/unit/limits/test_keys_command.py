"""`sightline keys` makes keys that the gateway knows, shows each once, and ends them."""

import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sightline.cli.keys import app
from sightline.errors import AuthenticationFailed
from sightline.limits.callers import Callers
from sightline.settings import Limits
from sightline.telemetry.metrics import Metrics


def sightline_keys(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.stdout.strip(), result.stderr.strip()


@pytest.fixture(params=["keys.yaml", "keys.json"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def callers(file: Path) -> Callers:
    return Callers(file, Limits(), Metrics())


def test_a_new_key_is_printed_alone_and_known_to_the_gateway(file: Path) -> None:
    code, key, _ = sightline_keys(
        "new", "--tenant", "acme", "--scope", "chat", "--scope", "cache:purge", "--limit", "requests_per_minute=60", "--file", str(file)
    )

    caller = callers(file).identify([f"Bearer {key}".encode()])

    assert code == 0
    assert (caller.tenant, caller.limits.requests_per_minute) == ("acme", 60)
    assert caller.scopes == frozenset({"chat", "cache:purge"})


def test_a_key_is_256_random_bits_and_the_file_does_not_hold_it(file: Path) -> None:
    _, key, _ = sightline_keys("new", "--tenant", "acme", "--file", str(file))

    assert key.startswith("sl-")
    assert len(key) == 3 + 43
    assert key not in file.read_text()


def test_the_file_is_its_owners_alone(file: Path) -> None:
    sightline_keys("new", "--tenant", "acme", "--file", str(file))
    file.chmod(0o644)
    sightline_keys("new", "--tenant", "acme", "--file", str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [left.name for left in file.parent.iterdir()] == [file.name]


def test_a_revoked_key_is_refused_and_listed_so(file: Path) -> None:
    _, key, _ = sightline_keys("new", "--tenant", "acme", "--file", str(file))
    key_id = yaml.safe_load(file.read_text())["keys"][0]["id"]

    code, _, _ = sightline_keys("revoke", key_id, "--file", str(file))
    _, listed, _ = sightline_keys("list", "--file", str(file))

    assert code == 0
    assert listed.splitlines()[1].split()[-1] == "revoked"
    with pytest.raises(AuthenticationFailed, match="revoked"):
        callers(file).identify([f"Bearer {key}".encode()])


def test_new_keys_leave_the_others_as_they_were(file: Path) -> None:
    keys = [sightline_keys("new", "--tenant", f"t{i}", "--file", str(file))[1] for i in range(3)]

    assert [callers(file).identify([f"Bearer {key}".encode()]).tenant for key in keys] == ["t0", "t1", "t2"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["new", "--tenant", "a", "--limit", "rpm=1"], "requests_per_minute", id="unknown limit"),
        pytest.param(["new", "--tenant", "a", "--limit", "requests_per_minute=-1"], "NAME=NUMBER", id="negative limit"),
        pytest.param(["new", "--tenant", "a", "--scope", "all"], "scopes.0", id="unknown scope"),
        pytest.param(["new", "--tenant", "a b"], "tenant", id="blank in a tenant's name"),
        pytest.param(["revoke", "key_0"], "no key has the id key_0", id="unknown id"),
    ],
)
def test_a_wrong_word_changes_nothing_and_says_what_is_right(file: Path, words: list[str], says: str) -> None:
    sightline_keys("new", "--tenant", "acme", "--file", str(file))
    before = file.read_text()

    code, _, error = sightline_keys(*words, "--file", str(file))

    assert code == 2
    assert says in error
    assert file.read_text() == before


def test_a_wrong_file_is_not_written_over(file: Path) -> None:
    file.write_text("keys: [")

    code, _, error = sightline_keys("new", "--tenant", "acme", "--file", str(file))

    assert (code, file.read_text()) == (2, "keys: [")
    assert "is not YAML" in error


def test_a_symlink_stays_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("keys: []\n")
    (tmp_path / "link.yaml").symlink_to("real.yaml")

    sightline_keys("new", "--tenant", "acme", "--file", str(tmp_path / "link.yaml"))

    assert (tmp_path / "link.yaml").is_symlink()
    assert len(yaml.safe_load((tmp_path / "real.yaml").read_text())["keys"]) == 1
