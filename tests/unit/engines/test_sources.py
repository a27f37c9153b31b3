"""What pip is configured to is said to uv: the same places, the same certificates."""

from pathlib import Path

import pytest

from sightline.engines.sources import Sources, for_uv, from_variables, is_there, parse

LISTING = """\
:env:.find-links='/env/wheels'
:env:.disable-pip-version-check='1'
global.cert='/etc/certificates.pem'
global.extra-index-url='file:///one/simple file:///two/simple'
global.find-links='/global/wheels'
freeze.timeout='10'
install.index-url='file:///install/simple'
global.index-url='file:///global/simple'
"""


def everywhere(_place: str) -> bool:
    return True


def test_precedence() -> None:
    """The environment wins over `[install]`, which wins over `[global]`; other commands' sections are not ours."""
    found = parse(LISTING)

    assert found["find-links"] == "/env/wheels"
    assert found["index-url"] == "file:///install/simple"
    assert "timeout" not in found


def test_for_uv() -> None:
    """Each place becomes an option of its own; all indexes count alike, as they do for pip."""
    assert for_uv(parse(LISTING), everywhere) == Sources(
        options=(
            *("--default-index", "file:///install/simple"),
            *("--index", "file:///one/simple", "--index", "file:///two/simple"),
            *("--find-links", "/env/wheels"),
            *("--index-strategy", "unsafe-best-match"),
        ),
        variables={"SSL_CERT_FILE": "/etc/certificates.pem"},
    )


def test_nothing_configured() -> None:
    """Where pip has its defaults, uv keeps its own."""
    assert for_uv({}, everywhere) == Sources()


@pytest.mark.parametrize(("value", "expected"), [("1", ("--no-index",)), ("true", ("--no-index",)), ("0", ()), ("false", ())])
def test_no_index(value: str, expected: tuple[str, ...]) -> None:
    """`no-index` is a yes or no in pip's words."""
    assert for_uv({"no-index": value}, everywhere).options[:1] == expected


def test_variables() -> None:
    """Where there is no pip to ask, the variables are read by pip's rule for names."""
    assert from_variables({"PIP_EXTRA_INDEX_URL": "file:///x", "PATH": "/bin"}) == {"extra-index-url": "file:///x"}


def test_absent_folder() -> None:
    """A folder that is not there is nothing to pip and an error to uv: it is left out."""
    assert for_uv({"find-links": "/absent"}, lambda _place: False) == Sources()


def test_is_there(tmp_path: Path) -> None:
    """Folders are looked at; what is on a network is believed."""
    places = [str(tmp_path), tmp_path.as_uri(), f"{tmp_path}/absent", f"{tmp_path.as_uri()}/absent", "https://mirror.example/simple"]

    assert [is_there(place) for place in places] == [True, True, False, False, True]
