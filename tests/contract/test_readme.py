"""The README's tables are what the code says: every setting with its default, every command."""

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from sightline.cli.main import COMMANDS
from sightline.settings import names

README = Path(__file__).parents[2] / "README.md"


def shown(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None or default in ((), ""):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{', '.join(map(str, default))}`"
    if isinstance(default, int) and default >= 2**20 and default % 2**20 == 0:
        return f"`{default}` ({default // 2**20} MiB)"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def bare(text: str) -> str:
    """A bar would begin another column."""
    return text.replace("|", "\\|")


def table() -> str:
    """What stands between the README's `settings` marks."""
    rows = [f"| `{name}` | {shown(default)} | {bare(text)} |" for name, default, text in names()]
    return "\n".join(["| setting | default | what it is |", "| --- | --- | --- |", *rows])


def test_every_setting_stands_in_the_readmes_table() -> None:
    """After a change: `python tests/contract/test_readme.py` writes it anew."""
    assert between(README.read_text(encoding="utf-8")) == table()


def test_every_command_is_named() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in [README, *README.parent.glob("docs/*.md")])
    assert [name for name in COMMANDS if f"sightline {name}" not in text] == []


def test_every_link_into_the_repository_leads_somewhere() -> None:
    for page in [README, *README.parent.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def between(text: str) -> str:
    return text.partition("<!-- settings -->\n")[2].partition("\n<!-- /settings -->")[0]


if __name__ == "__main__":
    old = README.read_text(encoding="utf-8")
    head, _, rest = old.partition("<!-- settings -->\n")
    README.write_text(f"{head}<!-- settings -->\n{table()}\n<!-- /settings -->{rest.partition('<!-- /settings -->')[2]}", encoding="utf-8")
