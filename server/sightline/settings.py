"""Every setting, in one place: frozen groups, one a component, read once at start and handed down by constructors.

Sources, later ones win: the defaults here < a YAML file < the environment (`SIGHTLINE_…`, `__` nests) < flags. An unknown name is
an error that offers the nearest right one. A secret may be read from a file: `SIGHTLINE_X_FILE=/path` stands for `SIGHTLINE_X`.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

PREFIX = "SIGHTLINE_"
NOT_SETTINGS = frozenset({"HOME", "TORCH_INDEX", "API_KEY", "BASE_URL"})  # the engine installer's and the clients' own


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it and the fix."""


def _words(value: object) -> object:
    """A list may be written as one string with commas, as environments and flags do."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _networks(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        ip_network(word)  # ValueError says what is wrong with it
    return words


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Networks = Annotated[Words, AfterValidator(_networks)]


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Timeouts(Group):
    connect: float = Field(2.0, gt=0, description="seconds to open a connection to an engine")
    first_token: float = Field(120.0, gt=0, description="seconds from asking an engine to the first chunk of a streamed answer")
    between_tokens: float = Field(30.0, gt=0, description="seconds an engine may stay silent within a streamed answer")
    answer: float = Field(600.0, gt=0, description="seconds an engine may take for a whole JSON answer")
    body: float = Field(15.0, gt=0, description="seconds a request body may stand still")
    client: float = Field(30.0, gt=0, description="seconds a client may leave an answer unread before it is cut off")
    drain: float = Field(30.0, ge=0, description="seconds that answers under way may take after SIGTERM")
    keep_alive: float = Field(
        75.0, gt=0, description="seconds an idle client connection is kept; a proxy in front should keep its own for less"
    )


class Requests(Group):
    body_bytes: int = Field(32 * 2**20, gt=0, description="largest request body, in bytes")
    header_bytes: int = Field(64 * 2**10, gt=0, description="largest request head, in bytes")
    bytes_in_flight: int = Field(
        256 * 2**20, gt=0, description="request bodies held at once, in bytes; what would go over is refused with 503"
    )
    messages: int = Field(100, gt=0, description="messages in one request")
    nesting: int = Field(64, gt=0, description="depth of arrays and objects in a request")
    unknown_fields: Literal["refuse", "forward"] = Field("refuse", description="what happens to body fields that nobody documents")


class Fetch(Group):
    enabled: bool = Field(True, description="whether pictures may be given as http(s) URLs")
    timeout: float = Field(10.0, gt=0, description="seconds for one picture, all redirects included")
    redirects: int = Field(3, ge=0, description="redirects followed, each checked anew")
    ports: Annotated[tuple[int, ...], BeforeValidator(_words)] = Field((80, 443), description="ports that may be dialled")
    allow_hosts: Words = Field(
        (), description="host names that may be dialled though their addresses are not public; `.example.org` allows all below it"
    )
    allow_networks: Networks = Field((), description="networks (CIDR) that may be dialled though they are not public")
    per_host: int = Field(8, gt=0, description="pictures fetched from one host at once")
    concurrency: int = Field(16, gt=0, description="pictures fetched at once; times `max_bytes` this bounds their memory")
    keep_bytes: int = Field(64 * 2**20, ge=0, description="fetched bytes kept in memory for URLs that come again, in bytes")
    keep_seconds: float = Field(30.0, ge=0, description="seconds that fetched bytes are kept, unless their server says no-store")


class S3(Group):
    endpoint: str | None = Field(None, description="S3-compatible endpoint for `s3://bucket/key` pictures; without it they are refused")
    region: str = Field("us-east-1", description="region named in signatures")
    access_key: SecretStr | None = Field(None, description="access key id (or `…_FILE`)")
    secret_key: SecretStr | None = Field(None, description="secret access key (or `…_FILE`)")
    buckets: Words = Field((), description="buckets that callers may name; empty allows all that the credentials can read")


class Images(Group):
    per_request: int = Field(16, gt=0, description="pictures in one request")
    prepare: Literal["auto", "always", "never"] = Field(
        "auto",
        description="`auto` sizes by content, `always` to `longest_side`, `never` passes pictures on as sent (trusted callers)",
    )
    max_bytes: int = Field(20 * 2**20, gt=0, description="largest encoded picture, in bytes")
    max_pixels: int = Field(33_000_000, gt=0, description="most pixels of a picture as sent")
    min_side: int = Field(8, gt=0, description="shortest side of a picture as sent, in pixels")
    max_aspect: float = Field(200.0, ge=1, description="longest side over shortest side")
    longest_side: int = Field(1024, ge=28, description="longest side of a prepared picture, in pixels")
    document_side: int = Field(2048, ge=28, description="longest side of a prepared picture with dense small text, in pixels")
    low_side: int = Field(512, ge=28, description="longest side with `detail: low`, in pixels")
    high_side: int = Field(2048, ge=28, description="longest side with `detail: high`, in pixels")
    sharpen: bool = Field(False, description="unsharp mask after shrinking")
    jpeg_quality: int = Field(92, ge=50, le=100, description="quality of re-encoded photos (JPEG, 4:4:4)")
    memo_bytes: int = Field(128 * 2**20, ge=0, description="prepared pictures kept in memory, in bytes")
    remember: float = Field(86_400.0, gt=0, description="seconds that the store remembers which picture some bytes are")
    threads: int = Field(0, ge=0, description="threads that decode; 0 means one a core")
    pixels_in_flight: int = Field(132_000_000, gt=0, description="pixels being decoded at once; what would go over waits")
    fetch: Fetch = Fetch()
    s3: S3 = S3()


class Cache(Group):
    enabled: bool = Field(True, description="whether answers are kept and reused")
    ttl: int = Field(3600, gt=0, description="seconds an answer is kept")
    max_ttl: int = Field(86_400, gt=0, description="most seconds that a request's `cache.ttl` may ask for")
    when: Literal["unless_sampled", "deterministic", "always"] = Field(
        "unless_sampled",
        description="which answers are kept: all but those to a temperature above 0 without a seed (none named counts as 0); "
        "only those to temperature 0 or a seed; all",
    )
    generation: str = Field("1", description="change it to start afresh, for example after the model behind a name has changed")
    memory_bytes: int = Field(256 * 2**20, gt=0, description="answers kept by the `memory://` store, in bytes")
    value_bytes: int = Field(2**20, gt=0, description="largest answer that is kept, in bytes")
    timeout: float = Field(0.05, gt=0, description="seconds a look-up in Redis may take before the request goes on without it")
    lease: float = Field(
        10.0, ge=0, description="seconds another replica's promise to answer is believed without a sign of life; 0 turns leases off"
    )
    encryption_keys: SecretStr | None = Field(
        None, description="AES-GCM keys for stored answers, base64 of 32 bytes, newest first, separated by commas (or `…_FILE`)"
    )


class Allowance(Group):
    """What one caller may use. None is no limit, 0 is nothing at all. The same names stand in the key file's `limits`."""

    requests_per_minute: int | None = Field(None, ge=0, description="requests a minute; unset is no limit, 0 admits none")
    tokens_per_minute: int | None = Field(None, ge=0, description="tokens a minute: prompt, pictures and answer; hits cost none")
    images_per_minute: int | None = Field(None, ge=0, description="pictures a minute")
    concurrent_requests: int | None = Field(None, ge=0, description="requests under way at once")
    tokens_per_day: int | None = Field(None, ge=0, description="tokens a day (UTC); what goes over is refused until midnight")


class Limits(Group):
    key: Allowance = Field(Allowance(), description="for each key (each client address without keys) that has none of its own")
    tenant: Allowance = Field(Allowance(), description="for each tenant, all its keys together")
    connections: int | None = Field(
        None, gt=0, description="open connections from one address, other than a trusted proxy's; more are refused with 429"
    )
    failed_auth: int | None = Field(
        60, gt=0, description="wrong keys a minute from one address answered with 401; more are told to wait, with 429"
    )
    requests_in_flight: int | None = Field(None, gt=0, description="requests in the gateway at once; more are refused with 503")
    engine_requests: int | None = Field(None, gt=0, description="requests at the engines at once; others wait in the queue")
    adaptive: bool = Field(
        False, description="lower that number while engines answer slowly, and raise it again, up to `engine_requests` (or 1024)"
    )
    queue: int = Field(64, ge=0, description="requests that wait for a place at the engines; more are refused with 503")
    queue_seconds: float = Field(1.0, gt=0, description="seconds a request may wait for a place; if it would be longer, it is refused")
    engine_queue: int | None = Field(None, ge=0, description="requests waiting within the engines at which new ones are refused with 503")


class Traces(Group):
    endpoint: str | None = Field(
        None, description="OTLP endpoint (HTTP) that traces are sent to, as `http://collector:4318/v1/traces`; unset, nothing is traced"
    )
    share: float = Field(1.0, ge=0, le=1, description="share of the requests that are traced; who comes with a traced span always is")


class Safety(Group):
    words_file: Path | None = Field(None, description="words that requests may not contain, one a line; `#` begins a comment")
    words: bool = Field(False, description="whether requests are checked for those words (a key may say otherwise)")
    mask: Annotated[tuple[Literal["phone", "email", "id_card", "bank_card"], ...], BeforeValidator(_words)] = Field(
        (), description="personal data taken out of answers: any of phone, email, id_card, bank_card (a key may say otherwise)"
    )


class Settings(Group):
    host: str = Field("127.0.0.1", description="address to listen on; anything but loopback wants keys or `open`")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of its own for `/metrics`; without it the serving port has them, on loopback, or for keys with that scope",
    )
    open: bool = Field(False, description="serve other hosts without keys")
    trusted_proxies: Networks = Field(
        (), description="networks (CIDR) of the proxies in front, whose X-Forwarded-For is believed; empty believes nobody"
    )
    docs: bool = Field(True, description="serve `/docs` and `/openapi.json`")
    engines: Words = Field(
        (), description="base URLs of the engines; `dns+http://NAME:PORT` is every address that the name has, looked up again every 5 s"
    )
    engine_key: SecretStr | None = Field(None, description="API key that the engines want (or `…_FILE`)")
    keys_file: Path | None = Field(None, description="YAML file of callers' keys, as `sightline keys` writes it")
    store: SecretStr = Field(
        SecretStr("memory://"),
        description="where answers are kept: `memory://`, `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log lines that are written")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="`auto` is console on a terminal, JSON otherwise")
    timeouts: Timeouts = Timeouts()
    requests: Requests = Requests()
    images: Images = Images()
    cache: Cache = Cache()
    limits: Limits = Limits()
    safety: Safety = Safety()
    traces: Traces = Traces()

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        for url in self.engines:
            if not _is_engine(url):
                raise ValueError(
                    f"engines: {url!r} is not an http:// or https:// URL, nor dns+http://NAME:PORT for all addresses of a name"
                )
        if self.keys_file is None and not self.open and not is_loopback(self.host):
            raise ValueError(
                f"host: {self.host} can be reached by others and there are no keys: make some with `sightline keys new`, or say --open"
            )
        return self

    @property
    def serves_loopback(self) -> bool:
        return is_loopback(self.host)


def _is_engine(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https", "dns+http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def load(file: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Reads the settings from all their sources; raises SettingsError with one line that names the wrong one."""
    environ = os.environ if environ is None else environ
    merged: dict[str, Any] = {}
    for source in (_from_file(file), _from_environment(environ), {k: v for k, v in (flags or {}).items() if v is not None}):
        _merge(merged, source)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def names(model: type[Group] = Settings, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Each setting as (dotted name, default, description), for the README's table, the environment's names, and the nearest right one."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Group):
            yield from names(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field.default, field.description or ""


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"config: {file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingsError(f"config: {file} is not YAML{f' (line {mark.line + 1})' if mark else ''}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"config: {file} should hold names and values, not {type(content).__name__}")
    return content


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known = {name.replace(".", "__").upper() for name, _, _ in names()}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name, value = variable.removeprefix(PREFIX), text
        if name in NOT_SETTINGS:
            continue
        if name not in known and name.endswith("_FILE") and name.removesuffix("_FILE") in known:
            name = name.removesuffix("_FILE")
            try:
                value = Path(text).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(f"{variable}: {text} cannot be read: {error.strerror}") from None
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise SettingsError(f"{variable} is not a setting{f'; did you mean {PREFIX}{near[0]}?' if near else ''}")
        _merge(found, _nest(name.lower().split("__"), value))
    return found


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    return {path[0]: value if len(path) == 1 else _nest(path[1:], value)}


def _merge(into: dict[str, Any], source: Mapping[str, Any]) -> None:
    for name, value in source.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def _explain(error: ValidationError) -> str:
    """The first problem as one line: the setting's dotted name, what is wrong with it, and the nearest right name or value."""
    problem = error.errors(include_url=False, include_input=True)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, [known for known, _, _ in names()], 1, 0.5)
        return f"{name} is not a setting{f'; did you mean {near[0]}?' if near else ''}"
    message = problem["msg"].removeprefix("Value error, ")
    if not name:
        return message
    return f"{name}: {message[0].lower()}{message[1:]}"
