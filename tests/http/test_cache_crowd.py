"""Identical requests in flight share one engine call: it outlives those who leave, and ends with the last of them."""

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.caching import FORMS, all_boarded, cache, crowd, encoded, in_flight, said
from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask, data_uri, head, picture

SLOW = Script(ttft=1.0)
ENDLESS = Script(ttft=30)


def begin(gateway: GatewayProcess, body: dict[str, Any]) -> socket.socket:
    """A request whose answer nobody waits for."""
    wire = gateway.connect()
    wire.sendall(head(len(encoded(body))) + encoded(body))
    return wire


async def test_a_stampede_of_a_hundred_is_one_engine_call(cached: GatewayProcess, engine: FakeEngine) -> None:
    """Cold and identical, half of them streaming: everybody is answered alike."""
    engine.script = SLOW
    body = ask(pictures=(data_uri(picture(colour="gold")),))

    answers = await crowd(cached, *(body | FORMS["stream" if number % 2 else "json"] for number in range(100)))

    assert len(engine.calls) == 1
    assert {said(answer)[0] for answer in answers} == {text_for(engine.calls[0].json)}
    assert len({str(said(answer)) for answer in answers}) == 1
    assert sorted({cache(answer) for answer in answers} - {"HIT"}) == ["COALESCED", "MISS"]
    assert [cache(answer) for answer in answers].count("MISS") == 1


@pytest.mark.parametrize("form", FORMS)
def test_the_first_one_leaving_does_not_hurt_the_others(cached: GatewayProcess, engine: FakeEngine, form: str) -> None:
    engine.script = SLOW
    body = ask() | FORMS[form]
    first = begin(cached, body)
    engine.wait_for_call()
    with ThreadPoolExecutor(2) as others:
        asked = [others.submit(cached.chat, body | FORMS[other]) for other in FORMS]
        engine.upcoming.append(Script())  # for the question that tells when all have come far enough
        all_boarded(cached, 1 + len(asked))
        first.close()
        eventually(lambda: in_flight(cached) == len(asked), what="the first to have left")
        answers = [one.result() for one in asked]

    assert [cache(answer) for answer in answers] == ["COALESCED"] * len(asked)
    assert [said(answer)[0] for answer in answers] == [text_for(engine.calls[0].json)] * len(asked)
    assert len([call for call in engine.calls if call.json["messages"] == body["messages"]]) == 1


@pytest.mark.parametrize("form", FORMS)
def test_the_last_one_leaving_ends_the_engine_call(cached: GatewayProcess, engine: FakeEngine, form: str) -> None:
    """Its connection is closed, and whoever asks next starts another."""
    engine.upcoming.append(ENDLESS)
    body = ask() | FORMS[form]
    riders = [begin(cached, body)]
    call = engine.wait_for_call()
    riders.append(begin(cached, body))
    all_boarded(cached, 2)

    riders[0].close()
    eventually(lambda: in_flight(cached) == 1, what="one to have left")
    assert not call.ended
    riders[1].close()
    engine.wait_for(lambda: call.ended)

    assert call.left_at is not None
    assert cache(cached.chat(body)) == "MISS"


@pytest.mark.parametrize("form", FORMS)
def test_who_looks_while_the_answer_lands_does_not_ask_again(engine: FakeEngine, redis: RedisServer, form: str) -> None:
    """His look-up has left before the answer was kept, and what it says comes when the call is over: he has the answer all the same."""
    engine.script = Script(ttft=1.5)
    body = ask()
    with GatewayProcess(engine.url, environ=environment(store=redis.url, cache__timeout=5)) as gateway, ThreadPoolExecutor(2) as clients:
        ready(gateway)
        first = clients.submit(gateway.chat, body)
        engine.wait_for_call()
        redis.tell("CLIENT", "PAUSE", 3000, "ALL")
        second = clients.submit(gateway.chat, body | FORMS[form])
        answers = [first.result(), second.result()]

    assert [cache(answer) for answer in answers] == ["MISS", "COALESCED"]
    assert len({said(answer)[0] for answer in answers}) == 1
    assert len(engine.calls) == 1
