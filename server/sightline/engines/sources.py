"""Where packages come from: pip's configuration, said again to uv.

uv does not read pip's files or `PIP_…` variables. Whoever has taught pip where to look (a mirror, a folder of wheels, a proxy) has
thereby taught the engine's installer.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SETTING = re.compile(r"^(?P<section>:env:|[\w-]+)\.(?:\.)?(?P<name>[\w-]+)=(?P<value>.*)$")
_PRECEDENCE = ("global", "install", ":env:")  # later ones win, as in pip
_FALSE = ("", "0", "no", "off", "false")


@dataclass(frozen=True, slots=True)
class Sources:
    """Options and environment variables for uv that mean what pip's configuration means to pip."""

    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def parse(listing: str) -> dict[str, str]:
    """`pip config list`'s lines as name → value, each name from the section that wins for `pip install`."""
    found: dict[str, str] = {}
    rank: dict[str, int] = {}
    for line in listing.splitlines():
        match = _SETTING.match(line.strip())
        if match is None or match["section"] not in _PRECEDENCE:
            continue
        name, place = match["name"].replace("_", "-"), _PRECEDENCE.index(match["section"])
        if place >= rank.get(name, 0):
            found[name], rank[name] = _unquoted(match["value"]), place
    return found


def from_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The `PIP_…` variables as name → value: what is left of pip's configuration where there is no pip to ask."""
    return {name.removeprefix("PIP_").lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("PIP_")}


def for_uv(configured: Mapping[str, str], exists: Callable[[str], bool]) -> Sources:
    """There is no order among pip's indexes (the best version wins, wherever it is), hence the index strategy.

    pip passes over folders that are not there; to uv they are errors, so they are left out.
    """
    options: list[str] = []
    if configured.get("no-index", "").lower() not in _FALSE:
        options.append("--no-index")
    if index := configured.get("index-url"):
        options += ["--default-index", index]
    for name, option in (("extra-index-url", "--index"), ("find-links", "--find-links"), ("trusted-host", "--allow-insecure-host")):
        for word in configured.get(name, "").split():
            if exists(word):
                options += [option, word]
    if options:
        options += ["--index-strategy", "unsafe-best-match"]
    variables = {}
    if certificate := configured.get("cert"):
        variables["SSL_CERT_FILE"] = certificate
    if proxy := configured.get("proxy"):
        variables["ALL_PROXY"] = proxy
    return Sources(tuple(options), variables)


def configured(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What pip is configured to, asked of our own pip, else of the one on PATH, else read from the environment."""
    for command in ([sys.executable, "-m", "pip"], ["pip"], ["python3", "-m", "pip"]):
        if shutil.which(command[0]) is None:
            continue
        try:
            asked = subprocess.run(  # noqa: S603 - a fixed command
                [*command, "config", "list"], capture_output=True, text=True, timeout=30, check=False, env=dict(environ)
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if asked.returncode == 0:
            return parse(asked.stdout)
    return from_variables(environ)


def is_there(place: str) -> bool:
    """Whether a place can be looked at: a folder or file that exists, or anything on a network."""
    url = urlsplit(place)
    return url.scheme not in ("", "file") or Path(unquote(url.path)).expanduser().exists()


def _unquoted(value: str) -> str:
    try:
        return str(ast.literal_eval(value))
    except (SyntaxError, ValueError):
        return value
