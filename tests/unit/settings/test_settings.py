"""Settings come from defaults, file, environment and flags, in that order; a wrong one is one line that names it and the fix."""

from pathlib import Path

import pytest

from sightline.settings import SettingsError, load, names


def test_each_source_overrides_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "sightline.yaml"
    file.write_text("port: 1\ncache: {ttl: 10, max_ttl: 20}\nimages: {fetch: {redirects: 1}}\n")
    settings = load(file, {"SIGHTLINE_PORT": "2", "SIGHTLINE_CACHE__TTL": "11"}, {"port": 3, "host": None})
    assert (settings.port, settings.cache.ttl, settings.cache.max_ttl, settings.images.fetch.redirects) == (3, 11, 20, 1)
    assert settings.host == "127.0.0.1"


def test_a_list_may_be_written_with_commas() -> None:
    assert load(None, {"SIGHTLINE_ENGINES": "http://a:1, http://b:2"}).engines == ("http://a:1", "http://b:2")


def test_a_secret_may_come_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    settings = load(None, {"SIGHTLINE_ENGINE_KEY_FILE": str(tmp_path / "key")})
    assert settings.engine_key is not None
    assert settings.engine_key.get_secret_value() == "hush"
    assert "hush" not in repr(settings)


def test_variables_of_other_programs_are_left_alone() -> None:
    assert load(None, {"PATH": "x", "SIGHTLINE_HOME": "/x"}).port == 8080


WRONG = {
    "unknown variable": ("", {"SIGHTLINE_CASHE__TTL": "1"}, "SIGHTLINE_CASHE__TTL is not a setting; did you mean SIGHTLINE_CACHE__TTL?"),
    "unknown name": ("chache: {ttl: 1}", {}, "chache is not a setting; did you mean cache"),
    "unknown name within": ("cache: {tll: 1}", {}, "cache.tll is not a setting; did you mean cache.ttl?"),
    "not a number": ("", {"SIGHTLINE_PORT": "http"}, "port: "),
    "out of range": ("", {"SIGHTLINE_PORT": "70000"}, "port: "),
    "not a choice": ("cache: {when: never}", {}, "cache.when: "),
    "open to the world": ("", {"SIGHTLINE_HOST": "0.0.0.0"}, "host: 0.0.0.0 can be reached by others and there are no keys"),
    "engine without scheme": ("", {"SIGHTLINE_ENGINES": "gpu1:8000"}, "engines: 'gpu1:8000' is not an http:// or https:// URL"),
    "engine with half a port": (
        "",
        {"SIGHTLINE_ENGINES": "http://gpu1:80o0"},
        "engines: 'http://gpu1:80o0' is not an http:// or https:// URL",
    ),
    "names go without TLS": (
        "",
        {"SIGHTLINE_ENGINES": "dns+https://gpus"},
        "engines: 'dns+https://gpus' is not an http:// or https:// URL",
    ),
    "not a mapping": ("- 1", {}, "config: "),
    "not YAML": ("{", {}, "config: "),
    "missing secret": ("", {"SIGHTLINE_ENGINE_KEY_FILE": "/nowhere"}, "SIGHTLINE_ENGINE_KEY_FILE: /nowhere cannot be read"),
}


@pytest.mark.parametrize(("text", "environ", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_one_line_naming_it(text: str, environ: dict[str, str], said: str, tmp_path: Path) -> None:
    file = tmp_path / "sightline.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as wrong:
        load(file, environ)
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml cannot be read"):
        load(Path("nowhere.yaml"), {})


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, _, description in names() if not description] == []
