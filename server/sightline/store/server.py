"""One Redis server, found directly or by asking Sentinels: dials when there is no connection, one dial at a time, shared by all."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence

import hiredis

from sightline.store.address import Address
from sightline.store.connection import Command, Connection, ConnectionEnded, Failed, Reply

DIAL_SECONDS = 1.0  # a TLS handshake and a look at the Sentinels may take longer than a caller waits for it
RENEW_SECONDS = 5.0


class Server:
    """`limit`: seconds a call may take, waiting for a dial included. Raises OSError (TimeoutError is one); replies may be errors."""

    one_slot = True  # a script may touch any keys together

    def __init__(self, address: Address, limit: float) -> None:
        self._address = address
        self._limit = limit
        self._tls = address.tls.context() if address.tls else None
        self._connection: Connection | None = None
        self._renewed_at = float("-inf")
        self._dialling: asyncio.Task[Connection] | None = None

    async def call(self, commands: Sequence[Command]) -> list[Reply]:
        deadline = asyncio.get_running_loop().time() + self._limit
        connection = self._connection
        if connection is None or connection.ended:
            async with asyncio.timeout_at(deadline):
                connection = await self.dial()
        return await connection.call(commands, deadline)

    def post(self, sha: str, script: bytes, rest: Command, failed: Failed) -> bool:
        """Runs a script for nobody who waits: it leaves with the next call. False when there is no connection now.

        The script goes whole the first time on a connection: were it asked for by its digest and not known, it would lose its place.
        """
        connection = self._connection
        if connection is None or connection.ended:
            return False
        command: Command = ("EVALSHA", sha, *rest) if sha in connection.scripts else ("EVAL", script, *rest)
        connection.post(command, asyncio.get_running_loop().time() + self._limit, failed)
        connection.scripts.add(sha)
        return True

    async def dial(self) -> Connection:
        """The connection, made when there is none. Whoever stops waiting leaves the dial to the others."""
        if self._connection is not None and not self._connection.ended:
            return self._connection
        if self._dialling is None:
            self._dialling = asyncio.get_running_loop().create_task(self._dial(), name="redis dial")
            self._dialling.add_done_callback(self._dialled)
        dialling = self._dialling
        try:
            return await asyncio.shield(dialling)
        except asyncio.CancelledError:
            if dialling.cancelled():  # by `close`: the caller itself was not cancelled
                raise ConnectionEnded("closed") from None
            raise

    async def scan(self, match: str) -> AsyncIterator[list[bytes]]:
        """Every key that `match` describes, in batches."""
        cursor: bytes | str = "0"
        while True:
            [reply] = await self.call([("SCAN", cursor, "MATCH", match, "COUNT", 500)])
            if isinstance(reply, hiredis.ReplyError):
                raise ConnectionEnded("SCAN")
            cursor, keys = reply
            yield keys
            if cursor == b"0":
                return

    async def each(self, command: Command) -> list[Reply]:
        """The reply of every server that holds keys: here, of the one."""
        return await self.call([command])

    def renew(self) -> None:
        """The next call dials anew, at most every few seconds; what has been asked is still answered."""
        now = asyncio.get_running_loop().time()
        if self._connection is not None and now - self._renewed_at >= RENEW_SECONDS:
            self._renewed_at = now
            self._connection.retire()
            self._connection = None

    def drop(self) -> None:
        """Ends the connection, if there is one; the next call dials."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def close(self) -> None:
        self.drop()
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait([self._dialling])
        self.drop()

    def _dialled(self, task: asyncio.Task[Connection]) -> None:
        if task is self._dialling:
            self._dialling = None
        if task.cancelled():
            return
        if task.exception() is None:  # asked for, so that nobody's absence makes a warning of it
            self._connection = task.result()

    async def _dial(self) -> Connection:
        async with asyncio.timeout(DIAL_SECONDS):
            if self._address.kind == "server":
                [(host, port)] = self._address.hosts
            else:
                host, port = await self._primary()
            return await self._open(host, port, self._greetings())

    async def _open(self, host: str, port: int, greetings: Sequence[Command]) -> Connection:
        loop = asyncio.get_running_loop()
        name = host if self._tls else None
        _, connection = await loop.create_connection(lambda: Connection(loop), host, port, ssl=self._tls, server_hostname=name)
        try:
            replies = await connection.call(greetings, loop.time() + DIAL_SECONDS) if greetings else []
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError):
                    raise ConnectionEnded(str(reply).partition(" ")[0])
            if self._address.kind == "sentinel" and greetings and replies[-1][0] != b"master":
                raise ConnectionEnded("not the primary")
        except BaseException:
            connection.close()
            raise
        return connection

    def _greetings(self) -> list[Command]:
        address = self._address
        greetings: list[Command] = []
        if address.password is not None:
            greetings.append(("AUTH", address.username, address.password) if address.username else ("AUTH", address.password))
        greetings.append(("CLIENT", "SETNAME", "sightline"))
        if address.db:
            greetings.append(("SELECT", address.db))
        if address.kind == "sentinel":
            greetings.append(("ROLE",))
        return greetings

    async def _primary(self) -> tuple[str, int]:
        """Where the first Sentinel that knows says that the service's primary is."""
        loop = asyncio.get_running_loop()
        for host, port in self._address.hosts:
            try:
                async with asyncio.timeout(DIAL_SECONDS / (len(self._address.hosts) + 1)):
                    sentinel = await self._open(host, port, ())
                    try:
                        question: Command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
                        [reply] = await sentinel.call([question], loop.time() + DIAL_SECONDS)
                    finally:
                        sentinel.close()
            except (OSError, ssl.SSLError):
                continue
            if isinstance(reply, list):
                return reply[0].decode(), int(reply[1])
        raise ConnectionEnded("no Sentinel knows the service")
