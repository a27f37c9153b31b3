"""The evaluator counts an answer only if it is exact, and asks every kind of question about every plate."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import evaluate
import plates
import pytest


class Parrot(BaseHTTPRequestHandler):
    """An endpoint that answers `red` to everything and keeps what it was asked."""

    asked: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body["messages"][0]["content"][1]["text"])
        reply = json.dumps({"choices": [{"message": {"content": "red"}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        pass


@pytest.fixture
def parrot() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Parrot,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_one_word_for_everything_is_right_only_where_it_is_true(parrot: tuple[str, list[str]]) -> None:
    url, asked = parrot
    red = sum(plates.plate(plates.FRESH + number).label.color == "red" for number in range(40))

    figures = evaluate.evaluate(url, "any", pictures=40)

    assert figures.exact == {"serial": 0.0, "color": round(100 * red / 40, 1), "shape": 0.0, "scratch": 0.0, "json": 0.0}
    assert sorted(asked) == sorted([phrasings[0] for phrasings in plates.QUESTIONS.values()] * 40)


@pytest.mark.parametrize(
    ("given", "exact", "characters"),
    [("AB12CD", 100.0, 100.0), ("AB12CX", 0.0, 83.3), ("ab12cd", 0.0, 33.3), ("AB1", 0.0, 50.0), ("", 0.0, 0.0)],
)
def test_a_serial_counts_whole_and_its_characters_in_place(given: str, exact: float, characters: float) -> None:
    others = [(kind, "x", "x") for kind in plates.QUESTIONS if kind != "serial"]

    figures = evaluate.tally([[("serial", "AB12CD", given), *others]])

    assert (figures.exact["serial"], figures.characters) == (exact, characters)
