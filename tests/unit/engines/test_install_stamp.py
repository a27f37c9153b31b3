"""An environment counts as complete only with the stamp of exactly these inputs, and with its programs in place."""

import json
from pathlib import Path

import pytest

from sightline.engines import install


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name in ("python", "vllm"):
        (tmp_path / "bin" / name).touch()
    (tmp_path / ".sightline-complete").write_text(json.dumps({"digest": install.digest("cpu")}))
    return tmp_path


def test_complete(target: Path) -> None:
    """The stamp of the present inputs is enough: nothing is started to find out."""
    assert install.is_complete("cpu", target)


@pytest.mark.parametrize("missing", ["bin/python", "bin/vllm", ".sightline-complete"])
def test_missing(target: Path, missing: str) -> None:
    """A stamp without the programs, or the programs without a stamp, is a partial installation."""
    (target / missing).unlink()

    assert not install.is_complete("cpu", target)


@pytest.mark.parametrize("stamp", ['{"digest": "another"}', '{"dig', "[]", ""], ids=["other inputs", "cut off", "not ours", "empty"])
def test_other_stamp(target: Path, stamp: str) -> None:
    """A stamp that is not of these inputs is none."""
    (target / ".sightline-complete").write_text(stamp)

    assert not install.is_complete("cpu", target)


def test_kinds_differ(target: Path) -> None:
    """The CPU's stamp does not make a GPU's environment."""
    assert not install.is_complete("gpu", target)
