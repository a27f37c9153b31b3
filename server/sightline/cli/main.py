"""Puts the commands together. Whatever goes wrong before serving begins is one line on standard error and exit status 2."""

import sys
from importlib import import_module
from typing import Annotated

import typer

import sightline
from sightline.settings import SettingsError

# In the order of --help. Only the one that was asked for is imported: the gateway's parts cost a second, `sightline ask` needs none.
COMMANDS = {
    "up": "up",
    "serve": "serve",
    "ask": "ask",
    "check-config": "check",
    "engine": "engine",
    "keys": "keys",
    "cache": "cache",
    "top": "top",
    "plan": "plan",
}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightline {sightline.__version__}")
        raise typer.Exit


def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """The options that stand before a command."""


def build(arguments: list[str]) -> typer.Typer:
    """The command line as far as `arguments` need it."""
    app = typer.Typer(
        name="sightline",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="The serving layer that understands pictures: OpenAI-compatible chat completions in front of vLLM.",
    )
    app.callback()(root)
    wanted = [name for name in arguments[:1] if name in COMMANDS] or list(COMMANDS)
    for name in wanted:
        module = import_module(f"sightline.cli.{COMMANDS[name]}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name.replace("-", "_")))
    return app


def main() -> None:
    try:
        build(sys.argv[1:])()
    except SettingsError as error:
        typer.echo(f"sightline: {error}", err=True)
        sys.exit(2)
