"""The recipes' command lines, without torch: what would be done, and one line for what is wrong."""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import synthesise

Run = Callable[..., tuple[int, str, str]]
NOWHERE = "http://127.0.0.1:1"
RECIPES = Path(__file__).parents[3] / "deploy/engine/recipes"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    synthesise.write(folder, pictures=100, seed=0)
    return folder / "train.jsonl"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls a recipe's `main` as its command line would: status, what it printed, what it said of errors."""

    def call(script: str, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, words)])
        code = 0
        try:
            import_module(script).main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("script", ["finetune", "quantise", "score", "synthesise"])
def test_help(script: str) -> None:
    """Started from another folder, by a Python that has no torch."""
    done = subprocess.run([sys.executable, RECIPES / f"{script}.py", "--help"], capture_output=True, text=True, check=False, cwd="/")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {script}.py")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([], "180 examples about 90 pictures; 11 steps of 16 examples; rank 16", id="LoRA"),
        pytest.param(
            ["--qlora", "--steps", "5"], "5 steps of 16 examples; rank 16 on the language layers of M, held in 4 bits (NF4)", id="QLoRA"
        ),
        pytest.param(["--epochs", "2", "--batch", "8"], "11 steps of 32 examples", id="two epochs"),
    ],
)
def test_what_would_be_taught(run: Run, examples: Path, tmp_path: Path, words: list[str], says: str) -> None:
    code, out, err = run("finetune", "M", examples, tmp_path / "adapter", "--dry-run", *words)

    assert (code, err) == (0, "")
    assert says in out
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--scheme", "fp8"], "M as FP8_DYNAMIC, calibrated on 0 of 0 examples", id="FP8"),
        pytest.param(["--scheme", "int8", "--examples", "X"], "M as W8A8, calibrated on 180 of 180 examples", id="INT8"),
        pytest.param(
            ["--scheme", "awq", "--examples", "X", "--samples", "50"], "M as W4A16_ASYM, calibrated on 50 of 180 examples", id="AWQ"
        ),
    ],
)
def test_what_would_be_quantised(run: Run, examples: Path, tmp_path: Path, words: list[str], says: str) -> None:
    code, out, err = run("quantise", "M", tmp_path / "out", "--dry-run", *(examples if word == "X" else word for word in words))

    assert (code, err) == (0, "")
    assert says in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "words", "says"),
    [
        pytest.param("finetune", ["M", "none.jsonl", "out"], "none.jsonl", id="no such file"),
        pytest.param("finetune", ["M", "X", "out", "--rank", "0"], "--rank", id="a rank of nothing"),
        pytest.param("quantise", ["M", "out", "--scheme", "awq"], "--examples", id="nothing to calibrate on"),
        pytest.param("quantise", ["M", "out", "--scheme", "gptq"], "--scheme", id="an unknown scheme"),
        pytest.param("score", ["none.jsonl", "--url", NOWHERE, "--model", "M"], "none.jsonl", id="nothing to measure with"),
        pytest.param("score", ["X", "--url", NOWHERE, "--model", "M", "--limit", "1"], "refused", id="no gateway there"),
        pytest.param("synthesise", ["out", "--pictures", "3"], "--pictures", id="too few to hold one out"),
    ],
)
def test_what_is_wrong_is_said_in_the_last_line(run: Run, examples: Path, script: str, words: list[str], says: str) -> None:
    code, out, err = run(script, *(str(examples) if word == "X" else word for word in words))

    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
