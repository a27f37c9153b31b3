"""Puts the commands together. Whatever goes wrong before serving begins is one line on standard error and exit status 2."""

import sys
from typing import Annotated

import typer

import sightline
from sightline.cli import ask, cache, check, keys, serve
from sightline.limits.keyfile import KeyFileError
from sightline.settings import SettingsError

app = typer.Typer(
    name="sightline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The serving layer that understands pictures: OpenAI-compatible chat completions in front of vLLM.",
)
app.command("serve")(serve.serve)
app.command("ask")(ask.ask)
app.add_typer(keys.app, name="keys")
app.add_typer(cache.app, name="cache")
app.command("check-config")(check.check_config)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightline {sightline.__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """The options that stand before a command."""


def main() -> None:
    try:
        app()
    except (SettingsError, KeyFileError) as error:
        typer.echo(f"sightline: {error}", err=True)
        sys.exit(2)
