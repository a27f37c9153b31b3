"""Every example in `clients/` runs as its users run it, against a real engine through a real gateway, and reads a bundled plate right."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real_engine import RealEngine
from tests.serving import GatewayProcess, environment, ready

from sightline import demo

CLIENTS = Path(__file__).parents[2] / "clients"
PLATE, LABEL = next(iter(demo.plates().items()))
READ = {"serial": LABEL.serial, "color": LABEL.color, "shape": LABEL.shape, "scratch": LABEL.scratch}
SEEN = {name: value for name, value in READ.items() if name != "serial"}  # under a schema the demo model may say a character twice
COMMANDS = {"py": (sys.executable, "-W", "error"), "mjs": ("node",), "sh": ("sh",)}

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def gateway(engine: RealEngine) -> Iterator[GatewayProcess]:
    with GatewayProcess(engine.url, environ=environment(engine_key=engine.key)) as gateway:
        yield ready(gateway)


def run(gateway: GatewayProcess, example: str, *arguments: str) -> list[str]:
    """What the example prints, line by line; it ends well and complains of nothing."""
    environ = os.environ | {"SIGHTLINE_BASE_URL": f"{gateway.url}/v1", "NO_COLOR": "1"}
    command = [*COMMANDS[example.rpartition(".")[2]], str(CLIENTS / example), *arguments]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize("example", ["openai-python/ask.py", "openai-node/ask.mjs"])
def test_one_question(gateway: GatewayProcess, example: str) -> None:
    answer, cost = run(gateway, example)

    assert answer == LABEL.color
    assert "prompt tokens" in cost


def test_several_questions_at_once(gateway: GatewayProcess) -> None:
    answers = [line.rpartition(" ")[2] for line in run(gateway, "openai-python/ask_async.py")]

    assert answers == [LABEL.color, LABEL.shape, LABEL.serial]


@pytest.mark.parametrize("example", ["openai-python/stream.py", "openai-node/stream.mjs"])
def test_a_stream(gateway: GatewayProcess, example: str) -> None:
    answer, cost = run(gateway, example)

    assert json.loads(answer) == READ
    assert "completion tokens" in cost


def test_a_parsed_object(gateway: GatewayProcess) -> None:
    (line,) = run(gateway, "openai-python/parse.py")

    assert line.startswith("Plate(serial='")
    assert all(f"{name}={value!r}" in line for name, value in SEEN.items()), line


def test_an_object_by_schema_in_node(gateway: GatewayProcess) -> None:
    shown = " ".join(run(gateway, "openai-node/json.mjs"))

    assert "serial: '" in shown
    assert all(f"{name}: {json.dumps(value).replace(chr(34), chr(39))}" in shown for name, value in SEEN.items()), shown


def test_a_function_call(gateway: GatewayProcess) -> None:
    (line,) = run(gateway, "openai-python/tools.py")
    name, arguments = line.split(" ", 1)

    assert name == "file_plate"
    assert set(ast.literal_eval(arguments)) <= {"color", "scratch"}  # the demo model has not learnt to fill them in


def test_curl(gateway: GatewayProcess) -> None:
    *events, done = [line for line in run(gateway, "curl/ask.sh") if line]

    assert done == "data: [DONE]"
    deltas = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == LABEL.color


def test_another_picture_is_read_when_it_is_named(gateway: GatewayProcess) -> None:
    plate, label = list(demo.plates().items())[2]

    assert run(gateway, "openai-python/ask.py", str(plate))[0] == label.color


def test_every_example_is_run_here() -> None:
    there = {str(path.relative_to(CLIENTS)) for kind in COMMANDS for path in CLIENTS.rglob(f"*.{kind}") if "node_modules" not in path.parts}
    text = Path(__file__).read_text(encoding="utf-8")

    assert [example for example in there if example not in text and not example.endswith(("picture.py", "picture.mjs"))] == []
