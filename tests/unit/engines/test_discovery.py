"""Which engines stand behind a name: its addresses now, and while it does not answer those known before that are well."""

from collections.abc import Sequence

import pytest

from sightline.engines.discovery import Directory


class Phonebook:
    """Answers with `addresses`, or fails with an error put there; remembers what it was asked for."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] | OSError = addresses
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses


async def test_every_address_of_a_name_is_an_engine_at_its_port_and_path() -> None:
    resolve = Phonebook("10.0.0.2", "10.0.0.1", "fd00::7")
    directory = Directory(["dns+http://engines.ai.svc:8000/prefix/v1"], resolve)
    assert await directory.look(()) == ["http://10.0.0.1:8000/prefix", "http://10.0.0.2:8000/prefix", "http://[fd00::7]:8000/prefix"]
    assert resolve.asked == ["engines.ai.svc"]


async def test_an_engine_that_is_named_twice_is_one() -> None:
    directory = Directory(["http://10.0.0.1:8000/v1", "http://10.0.0.1:8000/", "dns+http://a:8000"], Phonebook("10.0.0.1", "10.0.0.2"))
    assert await directory.look(()) == ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]


async def test_engines_come_and_go_with_the_names_addresses() -> None:
    resolve = Phonebook("10.0.0.1")
    directory = Directory(["dns+http://engines:8000"], resolve)
    seen = [await directory.look(())]
    for resolve.addresses in (("10.0.0.1", "10.0.0.2"), ("10.0.0.2",)):
        seen.append(await directory.look(("http://10.0.0.1:8000",)))  # that it is well keeps nobody whom the name has not any more
    assert seen == [["http://10.0.0.1:8000"], ["http://10.0.0.1:8000", "http://10.0.0.2:8000"], ["http://10.0.0.2:8000"]]


@pytest.mark.parametrize("failure", [OSError("no such name"), TimeoutError()], ids=["no such name", "no answer"])
async def test_while_a_name_does_not_answer_the_engines_that_are_well_stay(failure: OSError) -> None:
    resolve = Phonebook("10.0.0.1", "10.0.0.2")
    directory = Directory(["dns+http://engines:8000"], resolve)
    await directory.look(())
    resolve.addresses = failure
    assert await directory.look({"http://10.0.0.2:8000"}) == ["http://10.0.0.2:8000"]
    assert directory.empty == []
    assert await directory.look(()) == []
    assert directory.empty == ["engines:8000"]


async def test_one_name_that_fails_costs_another_nothing() -> None:
    async def resolve(host: str) -> Sequence[str]:
        if host == "gone":
            raise OSError("no such name")
        return ["10.0.0.1"]

    directory = Directory(["dns+http://gone:8000", "dns+http://there:8000", "http://fixed:8000"], resolve)
    assert await directory.look(()) == ["http://fixed:8000", "http://10.0.0.1:8000"]


async def test_engines_by_url_alone_need_no_second_look() -> None:
    assert not Directory(["http://a:8000"], Phonebook()).changes
