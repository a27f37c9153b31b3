"""How the fake engine answers a call: as vLLM does, or as badly as the call's script says."""

import asyncio
import gzip
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from tests.fakes import answer
from tests.fakes.connection import Call, Connection
from tests.fakes.script import BEFORE_HEAD, Fault, written

MEGABYTES_10 = 10 * 2**20
NESTED = b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
PAGE = b"<!doctype html><title>502 Bad Gateway</title><h1>proxy-canary-5f2c: upstream prematurely closed connection</h1>"


def _head(status: int, *headers: tuple[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", "date: Fri, 20 Nov 2026 12:00:00 GMT", "server: uvicorn"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode()


def _plain(status: int, body: bytes, *headers: tuple[str, str], type_: str = "application/json") -> bytes:
    return _head(status, ("content-length", str(len(body))), ("content-type", type_), *headers) + body


async def answer_plain(to: Connection, call: Call, models: tuple[str, ...], healthy: bool) -> None:
    """Everything but chat."""
    match call.path.partition("?")[0]:
        case "/health":
            await to.write(_plain(200 if healthy else 503, b""))
        case "/v1/models":
            await to.write(_plain(200, json.dumps({"object": "list", "data": [answer.card(name) for name in models]}).encode()))
        case _:
            await to.write(_plain(404, b'{"detail":"Not Found"}'))


async def refuse_key(to: Connection) -> None:
    await to.write(_plain(401, b'{"error":"Unauthorized"}'))


async def answer_chat(to: Connection, call: Call, models: tuple[str, ...], kept: set[str]) -> None:
    """`kept` are the names of the pictures that this engine has seen."""
    script = call.script
    if script.fault in BEFORE_HEAD:
        await asyncio.sleep(script.ttft)
        await _refuse_to_speak(to, script.fault)
    if script.status != 200:
        await asyncio.sleep(script.ttft)
        return await to.write(_plain(script.status, script.body, *script.headers))
    body = call.json
    if body["model"] not in models:
        message = f"The model `{body['model']}` does not exist. Valid aliases: {', '.join(models)}."
        return await to.write(_plain(404, json.dumps(answer.error(message, "NotFoundError", 404, "model")).encode()))
    named = answer.names(body)
    for index, (name, sent) in enumerate(named):
        if not sent and name not in kept:
            message = f"Cache miss for image at index {index} but data is not provided."
            return await to.write(_plain(400, json.dumps(answer.error(message, "BadRequestError", 400)).encode()))
    kept.update(name for name, _ in named if name)
    said = answer.answer_to(body, script.text, script.tokens)
    id_ = f"chatcmpl-{call.headers.get('x-request-id') or call.at.hex()}"
    speak = _stream if body.get("stream") else _whole
    return await speak(to, call, body, said, id_)


async def _refuse_to_speak(to: Connection, fault: Fault) -> None:
    if fault is Fault.RESET:
        to.reset()
    elif fault is Fault.HANG_UP:
        to.transport.close()
    elif fault is Fault.NOT_HTTP:
        await to.write(b"220 smtp.example.org ESMTP\r\n")
    await asyncio.Event().wait()  # until the connection is lost


async def _whole(to: Connection, call: Call, body: answer.Body, said: answer.Answer, id_: str) -> None:
    script = call.script
    data = json.dumps(answer.whole(body, said, id_, int(time.time())), ensure_ascii=False, separators=(",", ":")).encode()
    extra: tuple[tuple[str, str], ...] = script.headers
    type_ = "application/json"
    length = len(data)
    match script.fault:
        case Fault.HTML:
            data, type_ = PAGE, "text/html"
        case Fault.BAD_JSON | Fault.NESTED:
            data = NESTED if script.fault is Fault.NESTED else data[:-20]
        case Fault.GARBAGE:
            data = random.Random(7).randbytes(2000)
        case Fault.GZIP:
            data, extra = gzip.compress(data), (*extra, ("content-encoding", "gzip"))
        case Fault.LONG_LINE | Fault.ENDLESS:
            data += b" " * 8 * MEGABYTES_10
        case _:
            pass
    length = len(data) + {Fault.LENGTH_TOO_LONG: 100, Fault.LENGTH_TOO_SHORT: -20}.get(script.fault, 0)
    head = _head(200, ("content-length", str(length)), ("content-type", type_), *extra)
    if script.fault is Fault.STALL:
        await to.write(head)
        await asyncio.Event().wait()
    await asyncio.sleep(script.ttft + (len(said.tokens) / script.rate if script.rate else 0))
    if script.fault in {Fault.CUT, Fault.HALF_CLOSE}:
        await to.write(head + data[: len(data) // 2])
        await _break_off(to, script.fault)
    for piece in script.wire.pieces(data):
        await to.write(head + piece)
        head = b""
    if script.fault is Fault.LENGTH_TOO_LONG:
        to.transport.close()
    call.tokens_sent = len(said.tokens)


async def _stream(to: Connection, call: Call, body: answer.Body, said: answer.Answer, id_: str) -> None:
    script = call.script
    extra = (("content-encoding", "gzip"),) if script.fault is Fault.GZIP else ()
    type_ = "text/html" if script.fault is Fault.HTML else "text/event-stream; charset=utf-8"
    framing = {Fault.LENGTH_TOO_LONG: "1000000", Fault.LENGTH_TOO_SHORT: "300"}.get(script.fault)
    frame = ("content-length", framing) if framing else ("transfer-encoding", "chunked")
    head = _head(200, ("content-type", type_), frame, *extra, *script.headers)
    if not script.hold_head:
        await to.write(head)
        head = b""
    await asyncio.sleep(script.ttft)
    if script.wire.bom:
        head += _chunked("\ufeff".encode())
    compressor = gzip.compress if script.fault is Fault.GZIP else bytes
    joined = b""
    async for event in _events(to, call, body, said, id_):
        for piece in script.wire.pieces(compressor(event)):
            framed = piece if framing else _chunked(piece)
            if script.wire.cut == "joined":
                joined += framed
                continue
            await to.write(head + framed)
            head = b""
    await to.write(head + joined + (b"" if framing else b"0\r\n\r\n"))
    if framing:
        to.transport.close()


async def _events(to: Connection, call: Call, body: answer.Body, said: answer.Answer, id_: str) -> AsyncIterator[bytes]:
    """The stream's events in their frames, with the script's fault where it belongs."""
    script, wire = call.script, call.script.wire
    if script.fault is Fault.HTML:
        yield PAGE
        return
    if script.fault is Fault.GARBAGE:
        yield random.Random(7).randbytes(2000)
        return
    roles = body.get("n") or 1
    for number, chunk in enumerate(answer.chunks(body, said, id_, int(time.time()))):
        token = number - roles  # the first events only tell the role
        if token >= 0 and script.rate:
            await asyncio.sleep(1 / script.rate)
        if token == script.after:
            async for event in _fault_event(to, call, chunk):
                yield event
            if script.fault in {Fault.NO_DONE, Fault.ERROR_EVENT}:
                break
            if script.fault in {Fault.BAD_JSON, Fault.NESTED, Fault.LONG_LINE}:
                continue
        yield wire.event(written(chunk, wire))
        call.tokens_sent = max(0, token + 1)
    if script.fault is not Fault.NO_DONE:
        yield wire.event("[DONE]")


async def _fault_event(to: Connection, call: Call, chunk: dict[str, Any]) -> AsyncIterator[bytes]:
    fault, wire = call.script.fault, call.script.wire
    if fault is Fault.ERROR_EVENT:
        yield wire.event(json.dumps(answer.error("EngineCore encountered an issue.", "InternalServerError", 500)))
    elif fault is Fault.BAD_JSON:
        yield wire.event(json.dumps(chunk)[:-9])
    elif fault is Fault.NESTED:
        yield wire.event(NESTED.decode())
    elif fault is Fault.LONG_LINE:
        chunk["choices"][0]["delta"]["content"] = "x" * MEGABYTES_10
        yield wire.event(written(chunk, wire))
    elif fault is Fault.LONG_TAIL:
        yield b"data: " + b"x" * MEGABYTES_10
        await asyncio.Event().wait()
    elif fault is Fault.STALL:
        await asyncio.Event().wait()
    elif fault in {Fault.CUT, Fault.HALF_CLOSE}:
        await _break_off(to, fault)
    while fault is Fault.ENDLESS:
        yield wire.event(written(chunk, wire))
        call.tokens_sent += 1
        await asyncio.sleep(0)


async def _break_off(to: Connection, fault: Fault) -> None:
    await asyncio.sleep(0.05)  # what was written is to arrive before the reset overtakes it
    if fault is Fault.CUT:
        to.reset()
    else:
        to.transport.write_eof()
    await asyncio.Event().wait()


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
