"""Names that files of deploy/ share with the code, found in their text and held against it: a manifest that names what is gone is wrong.

Each `unknown_…` takes a file's text (Dockerfile, YAML, nginx, unit, Markdown) and gives what it names that the code does not have, in the
order of the text, so that a test reads `assert unknown_environment(text) == []`.
"""

import re
from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from typer.main import get_command

from sightline.cli.main import COMMANDS, build
from sightline.http.middleware import PREFIXES, ROUTES
from sightline.settings import NOT_SETTINGS, PREFIX, Settings, names
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.series import Family

GATEWAY_PORT: int = Settings.model_fields["port"].default
METRICS_PORT = 9090  # the gateway's own port for /metrics wherever it is not on loopback: the code has no default for it
ENGINE_PORT = 8000  # vLLM's own default

_ENVIRONMENT = re.compile(rf"\b{PREFIX}[A-Z][A-Z0-9_]*")
_ROUTE = re.compile(r"(?<![\w.~/-])/(?:v1|health|metrics|docs|openapi|static)(?![\w-])[\w./{}*-]*")
_METRIC = re.compile(r"\bsightline_[a-z_]*[a-z](?![\w.-])")
_COMMAND = re.compile(r"(?:^|[\s`\"']|bin/)sightline[\"']?,?[ \t]+[\"']?([a-z][a-z-]*)\b((?:\\\n|[^\n`])*)")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_ENGINE_ROUTES = frozenset({"/health", "/metrics", "/v1"})  # vLLM's own, which probes and scrapes name


def environment() -> frozenset[str]:
    """Every variable that means something: the settings', the same with `_FILE`, the installer's and the clients' own."""
    known = [name.replace(".", "__").upper() for name, _, _ in names()]
    return frozenset(PREFIX + name for name in [*known, *(f"{name}_FILE" for name in known), *NOT_SETTINGS])


def unknown_environment(text: str) -> list[str]:
    known = environment()
    return [name for name in _ENVIRONMENT.findall(text) if name not in known]


def unknown_routes(text: str) -> list[str]:
    """Paths of HTTP routes that neither the gateway nor vLLM has."""
    prefixes = tuple(prefix.rstrip("/") for prefix in PREFIXES)
    found = [path.rstrip("./*") for path in _ROUTE.findall(text)]
    return [path for path in found if path not in ROUTES | _ENGINE_ROUTES and not path.startswith(prefixes)]


def metrics() -> frozenset[str]:
    """Every series by every name that a query may use."""
    found: set[str] = set()
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase | Family):
            name = f"sightline_{metric._name.removeprefix('sightline_')}"
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(str(metric._type), ("",))
            found |= {name + suffix for suffix in suffixes}
    return frozenset(found)


def unknown_metrics(text: str) -> list[str]:
    known = metrics()
    return [name for name in _METRIC.findall(text) if name not in known]


def unknown_commands(text: str) -> list[str]:
    """`sightline WORD --flag` where there is no such command, or no such flag of it; what follows a lone `--` is vLLM's."""
    return [wrong for command, rest in _COMMAND.findall(text) for wrong in _wrong(command, re.split(r"\s--\s", rest)[0])]


def _wrong(command: str, rest: str) -> Iterator[str]:
    if command not in COMMANDS:
        yield f"sightline {command}"
        return
    found: Any = get_command(build([command])).commands[command]  # type: ignore[attr-defined]  # a group: there are several
    path = [command]
    while hasattr(found, "commands"):
        words = [word for word in re.findall(r"(?<![\w-])[a-z]+\b", rest) if word in found.commands]
        if not words:
            return
        found = found.commands[words[0]]
        path.append(words[0])
    flags = {flag for parameter in found.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    yield from (f"sightline {' '.join(path)} {flag}" for flag in _FLAG.findall(rest) if flag not in flags)
