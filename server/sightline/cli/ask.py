"""`sightline ask PICTURE "question"`: one question on the command line, the answer as it comes."""

import base64
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from sightline.settings import SettingsError

_PATIENCE = 600.0  # seconds of silence


def ask(
    picture: Annotated[str, typer.Argument(help="A file, or an http(s) or s3 URL.")],
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    *,
    model: Annotated[str | None, typer.Option(help="Default: the first that the gateway lists.")] = None,
    url: Annotated[str, typer.Option(envvar="SIGHTLINE_BASE_URL", help="Where the gateway serves.")] = "http://127.0.0.1:8080/v1",
    key: Annotated[str, typer.Option(envvar="SIGHTLINE_API_KEY", help="Your key, if the gateway wants one.")] = "",
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 512,
) -> None:
    """Ask a gateway about a picture; the answer is printed as it comes."""
    url = url.rstrip("/")
    if not urlsplit(url).path:  # as `curl` and browsers are told it
        url += "/v1"
    content = [{"type": "image_url", "image_url": {"url": _picture(picture)}}, {"type": "text", "text": question}]
    body = {
        "model": model or _first_model(url, key),
        "messages": [{"role": "user", "content": content}],
        "stream": True,
        "temperature": 0,
        "max_tokens": max_tokens,
    }
    with _open(f"{url}/chat/completions", key, body) as answer:
        for line in answer:
            _print(line)
        source = answer.headers.get("x-cache")
    typer.echo()
    if sys.stderr.isatty():
        typer.echo(f"({source})", err=True)


def _picture(name: str) -> str:
    if name.startswith(("http://", "https://", "s3://")):
        return name
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: cannot be read: {error.strerror}") from None
    return "data:image/*;base64," + base64.b64encode(data).decode()


def _print(line: bytes) -> None:
    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
        return
    chunk = json.loads(line[6:])
    if "error" in chunk:
        typer.echo()
        raise SettingsError(chunk["error"]["message"])
    for choice in chunk["choices"]:
        typer.echo(choice["delta"].get("content") or "", nl=False)
    sys.stdout.flush()


def _first_model(url: str, key: str) -> str:
    with _open(f"{url}/models", key) as answer:
        models = json.load(answer)["data"]
    if not models:
        raise SettingsError("the gateway lists no model; is its engine up?")
    return str(models[0]["id"])


def _open(url: str, key: str, body: dict[str, Any] | None = None) -> Any:
    """A response, or the gateway's own words as one line. No proxy of the environment stands between."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)  # noqa: S310 - the user's own URL
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}) if "127.0.0.1" in url else urllib.request.ProxyHandler())
    try:
        return opener.open(request, timeout=_PATIENCE)
    except urllib.error.HTTPError as error:
        try:
            message = json.load(error)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = f"the gateway answered {error.code}"
        raise SettingsError(message) from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{url}: {getattr(error, 'reason', error)}; is the gateway up?") from None
