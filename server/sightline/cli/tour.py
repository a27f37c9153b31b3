"""`sightline up --ask`: a bundled picture is asked about, twice, through the gateway, and what it took is shown."""

import base64
import json
import os
import time
from dataclasses import dataclass

import aiohttp
import typer

from sightline import demo
from sightline.engines import processes
from sightline.engines.spec import EngineSpec

_ABOUT_THE_DEMO = """
This is a demonstration model of 1.4 million parameters. It can read nameplates like those it was trained on, which a program draws:
the six-character serial, the colour and shape of the mark, whether there is a scratch, and all of it as JSON. It errs now and then.
It can do nothing else: photos, documents and other questions get nonsense. With a GPU, `sightline up` serves a real model."""


class NoAnswer(Exception):
    """The gateway answered with an error, or with nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Seconds are from sending the question."""

    text: str
    first: float
    whole: float
    source: str


async def tour(session: aiohttp.ClientSession, url: str, spec: EngineSpec, engine: int, gateway: int) -> None:
    """`engine` and `gateway` are the processes whose trees' memory is shown."""
    plate, label = next(iter(demo.plates().items()))
    question = "Describe the label as JSON." if spec.is_demo else "Describe this picture in one sentence."
    typer.echo(f"\n{plate.name} · {question}")
    first = await _ask(session, url, spec.name, plate.read_bytes(), question, show=True)
    typer.echo()
    if spec.is_demo:
        typer.echo(f"  drawn on it: serial {label.serial}, {label.color} {label.shape}, {'scratched' if label.scratch else 'no scratch'}")
    again = await _ask(session, url, spec.name, plate.read_bytes(), question, show=False)
    for name, asked in (("asked", first), ("asked again", again)):
        typer.echo(f"  {name}: first token {asked.first * 1000:.0f} ms, whole answer {asked.whole * 1000:.0f} ms ({asked.source})")
    used = [processes.peak_memory(root) / 1e6 for root in (engine, gateway)]
    typer.echo(f"  peak memory: engine {used[0]:,.0f} MB, gateway {used[1]:,.0f} MB")
    if spec.is_demo:
        typer.echo(_ABOUT_THE_DEMO)


async def _ask(session: aiohttp.ClientSession, url: str, model: str, picture: bytes, question: str, *, show: bool) -> Asked:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(picture).decode()}}
    content = [image, {"type": "text", "text": question}]
    body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 100, "stream": True}
    key = os.environ.get("SIGHTLINE_API_KEY")
    began, first, text = time.perf_counter(), 0.0, ""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=aiohttp.ClientTimeout(total=180)) as answer:
        if answer.status != 200:
            raise NoAnswer(f"HTTP {answer.status}: {(await answer.text())[:300]}")
        async for line in answer.content:
            piece = _piece(line)
            if piece:
                first = first or time.perf_counter() - began
                text += piece
                if show:
                    typer.echo(piece, nl=False)
        if not text:
            raise NoAnswer("an empty answer")
        return Asked(text, first, time.perf_counter() - began, answer.headers.get("x-cache", "no cache"))


def _piece(line: bytes) -> str:
    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
        return ""
    chunk = json.loads(line[6:])
    if "error" in chunk:
        raise NoAnswer(chunk["error"]["message"])
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
