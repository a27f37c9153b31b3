"""A key file that tests write as an operator would, with the keys themselves to hand."""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import yaml
from tests.serving import GatewayProcess, eventually


class KeyRing:
    """Each change replaces the file in one step, as Kubernetes and `sightline keys` do."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._entries: dict[str, dict[str, Any]] = {}

    def new(self, tenant: str = "acme", **entry: Any) -> str:
        """A new key with these entries of the file; `entry` as it stands there."""
        key = f"sl-{secrets.token_urlsafe(32)}"
        self._entries[key] = {
            "id": f"key_{len(self._entries)}",
            "digest": hashlib.sha256(key.encode()).hexdigest(),
            "tenant": tenant,
            "created": "2026-01-01",
        }
        self._entries[key] |= entry
        self.write()
        return key

    def change(self, key: str, **entry: Any) -> None:
        self._entries[key] |= entry
        self.write()

    def write(self, text: str | None = None) -> None:
        """The file as it should be, or `text` in its place."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text if text is not None else yaml.safe_dump({"keys": list(self._entries.values())}))
        os.replace(fresh, self.file)  # noqa: PTH105 - Path.replace is the same call


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def seen(gateway: GatewayProcess, event: str, number: int = 1) -> None:
    """Waits until the gateway has told of the key file so many times: `key_file.reloaded` or `key_file.refused`."""
    eventually(lambda: len(gateway.events(event)) >= number, 10, f"{number} × {event}")
