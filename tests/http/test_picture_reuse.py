"""What the engine has seen is not sent to it again: the next question names the picture. If the engine has let it go, it is sent anew."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.caching import FORMS, told, write_keys
from tests.fakes.answer import names, text_for
from tests.fakes.engine import Call, FakeEngine
from tests.fakes.script import refusal as refused
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, data_uri, picture, refusal

ACME, UMBRELLA = ({"authorization": f"Bearer sl-{tenant}"} for tenant in ("acme", "umbrella"))
RED, BLUE = data_uri(picture(colour="crimson")), data_uri(picture(colour="cornflowerblue"))


@pytest.fixture(scope="module")
def seeing() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def _keyed(seeing: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    write_keys(file, acme=["chat"], umbrella=["chat"])
    with GatewayProcess(seeing.url, environ=environment(keys_file=file, cache__enabled="false")) as gateway:
        yield gateway


@pytest.fixture
def keyed(_keyed: GatewayProcess, seeing: FakeEngine) -> GatewayProcess:
    seeing.forget()
    return ready(_keyed)


def by_name(call: Call) -> list[bool]:
    """For each picture, whether it was sent by its uuid alone."""
    assert all(uuid for uuid, _ in names(call.json))
    return [not sent for _, sent in names(call.json)]


@pytest.mark.parametrize("form", FORMS)
def test_the_second_question_sends_its_name_alone(keyed: GatewayProcess, seeing: FakeEngine, form: str) -> None:
    for _ in range(2):
        keyed.chat(ask(pictures=(RED,)) | FORMS[form], headers=ACME)
    keyed.chat(ask(pictures=(RED, BLUE)) | FORMS[form], headers=ACME)

    assert by_name(seeing.calls[1]) == [True]
    assert by_name(seeing.calls[2])[0] is True
    first, second, third = (names(call.json)[0][0] for call in seeing.calls)
    assert first == second == third
    assert len(seeing.calls[1].body) < 1000


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_that_the_engine_let_go_is_sent_again(keyed: GatewayProcess, seeing: FakeEngine, form: str) -> None:
    """The 400 by which vLLM says so never reaches the client."""
    keyed.chat(ask(pictures=(RED, BLUE)), headers=ACME)
    seeing.pictures.clear()
    seeing.calls.clear()
    answer = keyed.chat(ask("what now?", pictures=(RED, BLUE)) | FORMS[form], headers=ACME)

    assert [by_name(call) for call in seeing.calls] == [[True, True], [False, False]]
    assert told(answer)["text"] == text_for(seeing.calls[1].json)


def test_another_tenants_picture_has_another_name(keyed: GatewayProcess, seeing: FakeEngine) -> None:
    """So that no name that one tenant may learn of shows him what another has sent; nor are the engine's own caches shared."""
    for who in (ACME, UMBRELLA):
        keyed.chat(ask(pictures=(BLUE,)), headers=who)
    one, other = (call.json for call in seeing.calls)

    assert names(one)[0][0] != names(other)[0][0]
    assert names(other)[0][1]
    assert one["cache_salt"] != other["cache_salt"]


def test_names_tell_nothing(keyed: GatewayProcess, seeing: FakeEngine) -> None:
    answer = keyed.chat(ask(pictures=(RED,)), headers=ACME)
    body = seeing.calls[0].body.decode()

    assert answer.headers["x-image-hash"] not in body
    assert "acme" not in body


@pytest.mark.parametrize("content", [{"uuid": "x"}, {"image_url": {"url": RED, "uuid": "x"}}], ids=["beside", "within"])
def test_nobody_names_a_picture_himself(keyed: GatewayProcess, seeing: FakeEngine, content: dict[str, Any]) -> None:
    part = {"type": "image_url", "image_url": {"url": RED}} | content
    body = ask() | {"messages": [{"role": "user", "content": [part]}]}

    refusal(keyed.chat(body, headers=ACME), 400, "unsupported_parameter")
    assert seeing.calls == []


def test_another_400_is_the_clients(keyed: GatewayProcess, seeing: FakeEngine) -> None:
    """And is not tried again with the picture."""
    keyed.chat(ask(pictures=(RED,)), headers=ACME)
    seeing.upcoming.append(refused(400, "temperature must be non-negative"))
    seeing.calls.clear()

    assert "non-negative" in keyed.chat(ask(pictures=(RED,)), headers=ACME).json()["error"]["message"]
    assert len(seeing.calls) == 1
