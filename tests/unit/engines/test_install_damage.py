"""What a cut-off installation leaves half-written is found, by name, so that only that is put there again."""

from pathlib import Path

import pytest

from sightline.engines.install import damaged


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for name in ("whole", "hurt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a,b.py").write_text("12345")
        information = tmp_path / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "RECORD").write_text(f'"{name}/a,b.py",sha256=x,5\n{name}-1.0.dist-info/RECORD,,\n')
    return tmp_path


def test_whole(packages: Path) -> None:
    """Everything listed is there, in its size."""
    assert damaged(packages) == []


def test_missing_file(packages: Path) -> None:
    """A file that is listed and not there."""
    (packages / "hurt" / "a,b.py").unlink()

    assert damaged(packages) == ["hurt"]


def test_short_file(packages: Path) -> None:
    """A file that was not written to its end."""
    (packages / "hurt" / "a,b.py").write_text("123")

    assert damaged(packages) == ["hurt"]


def test_nothing_there(tmp_path: Path) -> None:
    """An environment that has not been made yet has no damage."""
    assert damaged(tmp_path / "no" / "such") == []
