"""Redis Cluster: one `Server` for each primary, each key asked of the one that holds its slot.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ : a key's slot is the CRC16 (XMODEM) of the key or of what
stands in its first braces; a node that does not hold the slot answers MOVED (from now on) or ASK (this once) with who does.
"""

import asyncio
from binascii import crc_hqx
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import hiredis

from sightline.store.address import Address
from sightline.store.connection import Command, ConnectionEnded, Failed, Reply
from sightline.store.server import DIAL_SECONDS, Server

SLOTS = 16_384

Host = tuple[str, int]


def slot_of(key: str | bytes | int) -> int:
    raw = key if isinstance(key, bytes) else str(key).encode()
    start = raw.find(b"{")
    end = raw.find(b"}", start + 1) if start >= 0 else -1
    return crc_hqx(raw[start + 1 : end] if end > start + 1 else raw, 0) % SLOTS


class Cluster:
    """`limit`: seconds a call may take, redirections included. Raises OSError (TimeoutError is one); replies may be errors.

    A command's key stands second, in a script's call fourth, as in all that the store asks.
    """

    one_slot = False  # keys lie on different servers: a script touches the keys of one slot

    def __init__(self, address: Address, limit: float) -> None:
        self._address = address
        self._limit = limit
        self._nodes: dict[Host, Server] = {host: self._node(host) for host in address.hosts}
        self._holders: list[Host | None] = []
        self._mapping: asyncio.Task[None] | None = None

    async def call(self, commands: Sequence[Command]) -> list[Reply]:
        async with asyncio.timeout(self._limit):
            await self.dial()
            shares: dict[Host, list[int]] = {}
            for place, command in enumerate(commands):
                shares.setdefault(self._holder(command), []).append(place)
            replies: list[Reply] = [None] * len(commands)
            await asyncio.gather(*(self._share(host, commands, places, replies) for host, places in shares.items()))
            return replies

    def post(self, sha: str, script: bytes, rest: Command, failed: Failed) -> bool:  # noqa: ARG002
        """Nothing can be sent at once here."""
        return False

    async def dial(self) -> None:
        """Learns which node holds what, if that is not known; one look at a time, shared by all."""
        if not self._holders:
            await asyncio.shield(self._look())

    async def scan(self, match: str) -> AsyncIterator[list[bytes]]:
        """Every key that `match` describes, in batches, one primary after another."""
        await self.dial()
        for host in self._primaries():
            async for keys in self._nodes[host].scan(match):
                yield keys

    async def each(self, command: Command) -> list[Reply]:
        """The reply of every primary."""
        await self.dial()
        return [reply for host in self._primaries() for reply in await self._nodes[host].each(command)]

    def renew(self) -> None:
        """A primary that has become a replica answers MOVED, so there is nothing to look for."""

    def drop(self) -> None:
        self._holders = []
        for node in self._nodes.values():
            node.drop()

    async def close(self) -> None:
        if self._mapping is not None:
            self._mapping.cancel()
            await asyncio.wait([self._mapping])
        for node in self._nodes.values():
            await node.close()

    def _node(self, host: Host) -> Server:
        return Server(replace(self._address, kind="server", hosts=(host,)), self._limit)

    def _primaries(self) -> list[Host]:
        return sorted({host for host in self._holders if host is not None})

    def _holder(self, command: Command) -> Host:
        host = self._holders[slot_of(command[3 if command[0] in {"EVAL", "EVALSHA"} else 1])]
        if host is None:
            raise ConnectionEnded("no node holds the slot")
        return host

    async def _share(self, host: Host, commands: Sequence[Command], places: Sequence[int], into: list[Reply]) -> None:
        """One node's commands; what it sends elsewhere is asked there, once."""
        try:
            replies = await self._nodes[host].call([commands[place] for place in places])
        except OSError:
            self._look()  # another may have taken its place
            raise
        for place, reply in zip(places, replies, strict=True):
            into[place] = await self._redirected(commands[place], reply) if isinstance(reply, hiredis.ReplyError) else reply

    async def _redirected(self, command: Command, error: hiredis.ReplyError) -> Reply:
        """The reply from where `MOVED slot host:port` or `ASK slot host:port` points; any other error as it is."""
        match str(error).split():
            case ["MOVED" | "ASK" as kind, _, where]:
                name, _, port = where.rpartition(":")
                host = (name, int(port))
                node = self._nodes.setdefault(host, self._node(host))
                if kind == "ASK":
                    return (await node.call([("ASKING",), command]))[1]
                self._look()
                return (await node.call([command]))[0]
            case _:
                return error

    def _look(self) -> asyncio.Task[None]:
        if self._mapping is None:
            self._mapping = asyncio.get_running_loop().create_task(self._map(), name="redis cluster map")
            self._mapping.add_done_callback(self._looked)
        return self._mapping

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._mapping = None
        if not task.cancelled():
            task.exception()  # asked for, so that nobody's absence makes a warning of it

    async def _map(self) -> None:
        async with asyncio.timeout(DIAL_SECONDS):
            for host in [*self._nodes]:
                try:
                    [ranges] = await self._nodes[host].call([("CLUSTER", "SLOTS")])
                except OSError:
                    continue
                if not isinstance(ranges, list):
                    continue
                holders: list[Host | None] = [None] * SLOTS
                for first, last, (name, port, *_), *_ in ranges:
                    holder = (name.decode() if name else host[0], port)
                    holders[first : last + 1] = [holder] * (last + 1 - first)
                    if holder not in self._nodes:
                        self._nodes[holder] = self._node(holder)
                self._holders = holders
                for gone in self._nodes.keys() - set(holders) - set(self._address.hosts):
                    self._nodes.pop(gone).drop()
                return
        raise ConnectionEnded("no node answers")
