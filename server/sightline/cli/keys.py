"""`sightline keys new|list|revoke`: makes and ends callers' keys in the key file. A key is shown once; the file holds its digest."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

import typer

from sightline.limits.keyfile import Entry, KeyFileError, Priority, Scope, parse, rewriting
from sightline.settings import Allowance

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke callers' keys.")

File = Annotated[Path, typer.Option("--file", "-f", envvar="SIGHTLINE_KEYS_FILE", help="The key file (YAML, or JSON by its suffix).")]
FILE = Path("sightline-keys.yaml")


@app.command()
def new(
    *,
    tenant: Annotated[str, typer.Option(help="Whose key it is. Tenants never see each other's answers.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(get_args(Scope))}; may be repeated. Default: chat.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model it may use; may be repeated. Default: all.")] = None,
    limit: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, for example requests_per_minute=60; may be repeated.")] = None,
    priority: Annotated[str, typer.Option(help=f"One of {', '.join(get_args(Priority))}.")] = "normal",
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires. Default: never.")] = None,
    file: File = FILE,
) -> None:
    """Make a key, write its digest to the key file and print the key, once."""
    key = f"sl-{secrets.token_urlsafe(32)}"
    now = datetime.now(UTC).replace(microsecond=0)
    entry: dict[str, Any] = {
        "id": f"key_{secrets.token_hex(4)}",
        "digest": hashlib.sha256(key.encode()).hexdigest(),
        "tenant": tenant,
        "scopes": list(scope or ["chat"]),
        "created": now.isoformat(),
    }
    if model:
        entry["models"] = list(model)
    if limit:
        entry["limits"] = _limits(limit)
    if priority != "normal":
        entry["priority"] = priority
    if days:
        entry["expires"] = (now + timedelta(days=days)).isoformat()
    try:
        with rewriting(file) as raw:
            raw["keys"].append(entry)
    except (KeyFileError, OSError) as error:
        _fail(error)
    typer.echo(f"{entry['id']} for tenant {tenant} is in {file}. The key is shown this once:", err=True)
    typer.echo(key)


@app.command("list")
def list_(file: File = FILE) -> None:
    """List the keys: id, tenant, scopes, state. The keys themselves are not kept anywhere."""
    try:
        keys = parse(file.read_text(encoding="utf-8"), str(file)).keys
    except (KeyFileError, OSError) as error:
        _fail(error)
    rows = [("ID", "TENANT", "SCOPES", "CREATED", "STATE"), *map(_row, keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        typer.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `sightline keys list` shows it.")],
    file: File = FILE,
) -> None:
    """End a key: gateways that read this file refuse it within about a second."""
    try:
        with rewriting(file) as raw:
            _find(raw["keys"], key_id, file)["revoked"] = datetime.now(UTC).replace(microsecond=0).isoformat()
    except (KeyFileError, OSError) as error:
        _fail(error)
    typer.echo(f"{key_id} is revoked in {file}.", err=True)


def _find(entries: Sequence[dict[str, Any]], key_id: str, file: Path) -> dict[str, Any]:
    for entry in entries:
        if entry["id"] == key_id:
            return entry
    raise KeyFileError(f"{file}: no key has the id {key_id}; `sightline keys list` shows them")


def _limits(words: Sequence[str]) -> dict[str, int]:
    limits = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in Allowance.model_fields or not number.isdecimal():
            raise typer.BadParameter(f"--limit {word}: should be NAME=NUMBER with NAME one of {', '.join(Allowance.model_fields)}")
        limits[name] = int(number)
    return limits


def _row(entry: Entry) -> tuple[str, str, str, str, str]:
    state = "active"
    if entry.expires is not None:
        expires = entry.expires if entry.expires.tzinfo else entry.expires.replace(tzinfo=UTC)
        state = f"{'expired' if expires <= datetime.now(UTC) else 'expires'} {expires:%Y-%m-%d}"
    if entry.revoked:
        state = "revoked"
    return entry.id, entry.tenant, ",".join(entry.scopes), f"{entry.created:%Y-%m-%d}", state


def _fail(error: Exception) -> NoReturn:
    reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    typer.echo(f"sightline: {reason}", err=True)
    raise typer.Exit(2) from None
