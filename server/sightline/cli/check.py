"""`sightline check-config`: are the settings right, and what are they?"""

from typing import Any

import typer
from pydantic import SecretStr

from sightline.cli.serve import ConfigFile
from sightline.settings import Settings, load, names


def check_config(config: ConfigFile = None) -> None:
    """Read all settings as `serve` would, and print those that are not at their defaults. Exit status 2 when one is wrong."""
    from sightline.app import create_app
    from sightline.http.middleware import Lifecycle
    from sightline.telemetry.metrics import Metrics

    settings = load(config)
    create_app(settings, Metrics(), Lifecycle())  # key file, store URL, encryption keys
    for name, default, _ in names():
        value = _value(settings, name)
        if value != default:
            typer.echo(f"{name}: {'(set)' if isinstance(value, SecretStr) and name != 'store' else _shown(value)}")
    typer.echo("The settings are right.")


def _value(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _shown(value: Any) -> str:
    """Lists as they are written; a store's URL without its password."""
    if isinstance(value, SecretStr):
        scheme, _, rest = value.get_secret_value().partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
