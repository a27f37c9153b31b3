"""Abuse: what careless and hostile clients send. The refusal that the contract names is what should come; anything else is a failure."""

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from random import Random

from loadtests.pictures.album import PLATE, Album
from loadtests.scenarios.asks import Ask, chat, said, seen

NAME = "abuse"


def _file(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _bomb() -> str:
    """A PNG of 400 megapixels in a hundred bytes: its head is all that anybody should read."""
    size = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return _file(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b""))


class Abuse:
    def __init__(self, model: str, album: Album, dice: Random) -> None:
        self._model, self._album, self._dice = model, album, dice

    def ask(self) -> Ask:
        code = self._dice.choice(list(REFUSALS))
        status, body = REFUSALS[code]
        return Ask(f"{NAME}: {code}", body(self), refusal=(status, code.partition(" ")[0]))

    def heard(self, text: str) -> None:
        """Nobody is listening."""

    def with_picture(self, uri: str, **fields: object) -> bytes:
        return chat(self._model, [seen(uri, "What is this?")], max_tokens=8, **fields)

    def cut_off(self) -> bytes:
        return self.with_picture(self.plate())[:-20]

    def plate(self) -> str:
        return self._album.uri(PLATE, self._album.unseen(PLATE))

    def not_base64(self) -> bytes:
        return self.with_picture(self.plate()[:-40] + "!?" * 8)

    def damaged(self) -> bytes:
        head, _, data = self.plate().partition(",")
        return self.with_picture(f"{head},{data[:400]}")

    def no_messages(self) -> bytes:
        return json.dumps({"model": self._model}).encode()

    def no_such_model(self) -> bytes:
        return chat("gpt-nobody-serves", [said("Hello")], max_tokens=8)


# What stands behind a space tells two attempts with one code apart.
REFUSALS: Mapping[str, tuple[int, Callable[[Abuse], bytes]]] = {
    "invalid_json": (400, Abuse.cut_off),
    "invalid_base64_image": (400, Abuse.not_base64),
    "image_parse_error": (400, Abuse.damaged),
    "image_too_large (bomb)": (400, lambda abuse: abuse.with_picture(_bomb())),
    "unsupported_image_media_type": (400, lambda abuse: abuse.with_picture(_file(b"MZ" + bytes(200)))),
    "empty_image_file": (400, lambda abuse: abuse.with_picture("data:image/png;base64,")),
    "invalid_image_url (metadata service)": (400, lambda abuse: abuse.with_picture("http://169.254.169.254/latest/meta-data/")),
    "unsupported_parameter (smuggled)": (400, lambda abuse: abuse.with_picture(abuse.plate(), cache_salt="mine")),
    "unsupported_parameter (misspelt)": (400, lambda abuse: abuse.with_picture(abuse.plate(), temprature=0.1)),
    "missing_required_parameter": (400, Abuse.no_messages),
    "model_not_found": (404, Abuse.no_such_model),
}
