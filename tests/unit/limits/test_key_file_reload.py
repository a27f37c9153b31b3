"""A changed key file counts from the next look on when it is right, and not at all when it is wrong."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sightline.errors import AuthenticationFailed
from sightline.limits import callers as module
from sightline.limits.callers import Callers
from sightline.limits.keyfile import KeyFileError
from sightline.settings import Limits
from sightline.telemetry.metrics import Metrics

HEADER = [b"Bearer sl-one"]


def content(**fields: object) -> str:
    digest = hashlib.sha256(b"sl-one").hexdigest()
    return yaml.safe_dump({"keys": [{"id": "k1", "digest": digest, "tenant": "acme", "created": "2026-01-01"} | fields]})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.yaml"
    file.write_text(content())
    return file


@pytest.fixture
def callers(file: Path, metrics: Metrics) -> Callers:
    return Callers(file, Limits(), metrics)


def count(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("sightline_key_file_reloads_total", {"result": result})


def test_a_key_revoked_in_the_file_is_refused_after_the_next_look(callers: Callers, file: Path, metrics: Metrics) -> None:
    assert callers.identify(HEADER).tenant == "acme"

    file.write_text(content(revoked=True))
    callers.look()

    with pytest.raises(AuthenticationFailed, match="revoked"):
        callers.identify(HEADER)
    assert count(metrics, "ok") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda file: file.write_text(content()[:40]), id="half-written"),
        pytest.param(lambda file: file.write_text(content(unknown=1)), id="unknown field"),
        pytest.param(lambda file: file.write_text(""), id="emptied"),
        pytest.param(lambda file: file.write_bytes(b"\xff\xfe\x00"), id="not text"),
        pytest.param(lambda file: file.unlink(), id="gone"),
    ],
)
def test_a_wrong_file_is_refused_once_and_the_old_keys_stay(
    callers: Callers, file: Path, metrics: Metrics, wrong: Callable[[Path], object]
) -> None:
    wrong(file)
    callers.look()
    callers.look()

    assert callers.identify(HEADER).tenant == "acme"
    assert (count(metrics, "refused"), count(metrics, "ok")) == (1, 0)


def test_a_file_put_right_counts_again(callers: Callers, file: Path, metrics: Metrics) -> None:
    file.unlink()
    callers.look()

    file.write_text(content(tenant="other"))
    callers.look()

    assert callers.identify(HEADER).tenant == "other"


def test_a_file_that_changes_while_it_is_read_waits_for_the_next_look(
    callers: Callers, file: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a YAML list is a YAML list, so what somebody is still writing must not count even when it reads well."""
    read = module._read

    def read_while_somebody_writes(path: Path) -> str:
        text = read(path)
        path.write_text(content(tenant="finished"))
        return text

    file.write_text("keys: []")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_read", read_while_somebody_writes)
        callers.look()
    assert callers.identify(HEADER).tenant == "acme"

    callers.look()
    assert callers.identify(HEADER).tenant == "finished"


def test_an_unchanged_file_is_not_read_again(callers: Callers, metrics: Metrics) -> None:
    callers.look()

    assert (count(metrics, "refused"), count(metrics, "ok")) == (0, 0)


def test_kubernetes_swap_of_a_symlink_is_seen(tmp_path: Path, metrics: Metrics) -> None:
    """The kubelet mounts `keys.yaml -> ..data/keys.yaml`, `..data -> ..2026_1` and swaps `..data` by rename."""
    for version, tenant in (("..2026_1", "first"), ("..2026_2", "after")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys.yaml").write_text(content(tenant=tenant))
        os.utime(tmp_path / version / "keys.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "keys.yaml").symlink_to("..data/keys.yaml")
    callers = Callers(tmp_path / "keys.yaml", Limits(), metrics)

    (tmp_path / "..fresh").symlink_to("..2026_2")
    (tmp_path / "..fresh").rename(tmp_path / "..data")
    callers.look()

    assert callers.identify(HEADER).tenant == "after"


async def test_the_watch_looks_by_itself_until_it_is_cancelled(callers: Callers, file: Path) -> None:
    watch = asyncio.create_task(callers.watch(every=0.001))
    await asyncio.to_thread(file.write_text, content(tenant="other"))

    async with asyncio.timeout(5):
        while callers.identify(HEADER).tenant != "other":  # noqa: ASYNC110 - the watch tells nobody, as in production
            await asyncio.sleep(0.001)

    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


def test_a_wrong_file_at_start_is_an_error(tmp_path: Path, metrics: Metrics) -> None:
    with pytest.raises(KeyFileError, match=r"keys\.yaml: cannot be read"):
        Callers(tmp_path / "keys.yaml", Limits(), metrics)
