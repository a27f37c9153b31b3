"""`sightline ask` prints the answer to one question about one picture, or the gateway's own words in one line."""

import subprocess
from pathlib import Path

from tests.fakes.engine import FakeEngine
from tests.serving import COMMAND, GatewayProcess, environment
from tests.shapes import ask, data_uri, picture


def sightline_ask(gateway: GatewayProcess, file: Path, *words: str) -> tuple[int, str, str]:
    command = [*COMMAND, "ask", str(file), "What is it?", "--url", f"{gateway.url}/v1", *words]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=20, check=False)
    return ended.returncode, ended.stdout.strip(), ended.stderr.strip()


def test_the_answer_is_printed(gateway: GatewayProcess, engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture())
    expected = gateway.chat(ask("What is it?", pictures=(data_uri(file.read_bytes()),))).json()["choices"][0]["message"]["content"]

    assert sightline_ask(gateway, file) == (0, expected, "")
    assert sightline_ask(gateway, file, "--url", gateway.url) == (0, expected, "")  # the last --url counts


def test_what_the_gateway_refuses_is_told_in_its_words(gateway: GatewayProcess, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"no picture")

    status, out, err = sightline_ask(gateway, file, "--model", "another")
    assert (status, out) == (2, "")
    assert "'another' does not exist" in err

    status, _, err = sightline_ask(gateway, file)
    assert (status, len(err.splitlines())) == (2, 1)
    assert err.startswith("sightline: ")


def test_a_gateway_that_is_not_there_is_one_line(gateway: GatewayProcess, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture())

    status, out, err = sightline_ask(gateway, file, "--url", "http://127.0.0.1:1/v1")

    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "is the gateway up?" in err
