"""How long to wait before the next start, and how a death is told."""

from pathlib import Path

import pytest

from sightline.engines.launch import described, failure, pause


def test_pause_doubles_up_to_a_minute() -> None:
    """1, 2, 4 … 60 s, and no overflow however often it dies."""
    assert [pause(deaths) for deaths in (1, 2, 3, 6, 7, 8, 10_000)] == [1, 2, 4, 32, 60, 60, 60]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (1, "exit status 1"),
        (137, "killed by SIGKILL, perhaps for memory"),
        (-9, "killed by SIGKILL, perhaps for memory"),
        (143, "killed by SIGTERM"),
    ],
)
def test_described(status: int, words: str) -> None:
    """Signals by name, whether they hit the engine or its keeper."""
    assert described(status) == words


def test_failure_names_the_engines_own_error(tmp_path: Path) -> None:
    """The last error that vLLM logged, without its process prefix, then the last lines and where the rest stands."""
    log = tmp_path / "engine.log"
    log.write_text(
        "(APIServer pid=1) INFO starting\n(APIServer pid=1) Traceback (most recent call last):\n"
        "(APIServer pid=1)   File x\n(APIServer pid=1) OSError: no such model\nbye\n"
    )

    told = failure(log, 1)

    assert told.splitlines()[0] == "The engine did not start (exit status 1): OSError: no such model"
    assert "  | bye" in told
    assert told.endswith(str(log))
