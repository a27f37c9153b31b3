"""The key file: its fields, how it is read (strictly, the error names the entry and the fix) and how it is written (atomically).

YAML, so JSON too. A list `keys:` and, for limits that all keys of a tenant share, a mapping `tenants:`. It holds digests, never keys.
"""

import difflib
import fcntl
import json
import os
import secrets
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sightline.settings import Allowance, SettingsError

Scope = Literal["chat", "cache:purge", "metrics"]
Priority = Literal["high", "normal", "low"]
Masked = Literal["phone", "email", "id_card", "bank_card"]


class KeyFileError(SettingsError):
    """The key file is wrong; the message is one line that names file, entry and fix."""


def _moment(value: object) -> object:
    """YAML reads timestamps and dates itself, JSON has only strings; a date means its first second in UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    return value


def _sequence(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Moment = Annotated[datetime, BeforeValidator(_moment)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CachePolicy(_Strict):
    """What the result cache does for a key. None leaves it to the settings."""

    enabled: bool = True
    ttl: int | None = Field(None, gt=0)
    when: Literal["unless_sampled", "deterministic", "always"] | None = None


class Safety(_Strict):
    """Checks for a key. None leaves it to the settings."""

    words: bool | None = None
    mask: Annotated[tuple[Masked, ...] | None, BeforeValidator(_sequence)] = None


class Entry(_Strict):
    id: Name
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant: Name
    scopes: Annotated[tuple[Scope, ...], BeforeValidator(_sequence)] = ("chat",)
    models: Annotated[tuple[str, ...] | None, BeforeValidator(_sequence)] = None
    limits: Allowance = Allowance()
    cache: CachePolicy = CachePolicy()
    safety: Safety = Safety()
    priority: Priority = "normal"
    created: Moment
    expires: Moment | None = None
    revoked: bool | Moment = False


class Tenant(_Strict):
    limits: Allowance = Allowance()


class KeyFile(_Strict):
    keys: Annotated[tuple[Entry, ...], BeforeValidator(_sequence)]
    tenants: dict[Name, Tenant] = Field(default_factory=dict)


def parse(text: str, name: str) -> KeyFile:
    """The key file in `text`; `name` stands in the error's one line."""
    try:
        raw = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that also refuses doubled names
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) if isinstance(error, _DoubledName) else None
        raise KeyFileError(f"{name}: {problem or 'is not YAML'}{f' (line {mark.line + 1})' if mark else ''}") from None
    except ValueError:
        raise KeyFileError(f"{name}: is not YAML: a date in it does not exist") from None
    except RecursionError:
        raise KeyFileError(f"{name}: is nested too deeply") from None
    if not isinstance(raw, dict):
        raise KeyFileError(f"{name}: should hold a list `keys:`; make one with `sightline keys new`")
    try:
        file = KeyFile.model_validate(raw, strict=True)
    except ValidationError as error:
        raise KeyFileError(f"{name}: {_explain(error, raw)}") from None
    _no_twins(file.keys, name)
    return file


class _DoubledName(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """YAML's last of two equal names wins silently; here a second `keys:` would lock callers out, so it is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for at, name in enumerate(names):
            if name in names[:at]:
                raise _DoubledName(problem=f"`{name}` stands twice; keep one", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


_WITHIN: dict[str, type[BaseModel]] = {"limits": Allowance, "cache": CachePolicy, "safety": Safety}


def _explain(error: ValidationError, raw: dict[Any, Any]) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where, *path = [str(part) for part in problem["loc"]]
    place = ""
    if where == "keys" and path and path[0].isdigit():
        at = int(path.pop(0))
        entry = raw["keys"][at]
        known = entry.get("id") if isinstance(entry, dict) else None
        place = f"keys[{at}]" + (f" ({known[:64]})" if isinstance(known, str) else "") + ": "
        where = ".".join(path) or "the entry"
    else:
        where = ".".join([where, *path])
    if problem["type"] == "extra_forbidden":
        last = where.rpartition(".")[2]
        models = (Entry, Allowance, CachePolicy, Safety, KeyFile, Tenant)
        here = Entry if place else Tenant
        home = next((name for name, model in _WITHIN.items() if last in model.model_fields and name in here.model_fields), None)
        if home is not None:
            return f"{place}{where} is not a field; {last} stands under {home}"
        near = difflib.get_close_matches(last, {known for model in models for known in model.model_fields} - {last}, 1, 0.5)
        return f"{place}{where} is not a field{f'; did you mean {near[0]}?' if near else ''}"
    if problem["type"] == "missing":
        return f"{place}{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}{where}: {message[0].lower()}{message[1:]}"


def _no_twins(entries: Sequence[Entry], name: str) -> None:
    ids: dict[str, int] = {}
    digests: dict[str, int] = {}
    for at, entry in enumerate(entries):
        if (first := ids.setdefault(entry.id, at)) != at:
            raise KeyFileError(f"{name}: keys[{at}] ({entry.id}): id is that of keys[{first}] too; rename one")
        if (first := digests.setdefault(entry.digest, at)) != at:
            raise KeyFileError(f"{name}: keys[{at}] ({entry.id}): digest is that of keys[{first}] too; remove one")


@contextmanager
def rewriting(file: Path) -> Iterator[dict[str, Any]]:
    """The file's content (or an empty one) to change in place; afterwards checked and put back at once, mode 600.

    Two writers take turns by a lock on the directory. Readers see the old file or the new one, never a part.
    """
    file = file.resolve()
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        raw: dict[str, Any] = {"keys": []}
        if file.exists():
            text = file.read_text(encoding="utf-8")
            parse(text, str(file))
            raw = yaml.load(text, _Loader)  # noqa: S506 - see `parse`
        yield raw
        text = json.dumps(raw, indent=2, default=str) + "\n" if file.suffix == ".json" else yaml.safe_dump(raw, sort_keys=False)
        parse(text, str(file))
        _replace(file, text)
        os.fsync(directory)
    finally:
        os.close(directory)


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
