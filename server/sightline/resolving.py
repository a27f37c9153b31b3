"""Names to addresses, by the machine's own resolver."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host name; raises OSError when there are none."""


class Names:
    """The machine's own resolver, asked in threads; `limit` of them at once. Threads, since `getaddrinfo` cannot be told to stop.

    They are daemons and ours: a name server that never answers holds up neither the process's exit nor anybody else's threads.
    """

    def __init__(self, limit: int = 16) -> None:
        self._slots = asyncio.Semaphore(limit)

    async def __call__(self, host: str) -> Sequence[str]:
        """Raises OSError when there is no such name."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()

        def settle(addresses: Sequence[str], error: OSError | None) -> None:
            self._slots.release()  # only now: a look-up that nobody waits for any more still has its thread
            if answer.done():
                return
            if error is None:
                answer.set_result(addresses)
            else:
                answer.set_exception(error)

        def ask() -> None:
            addresses: Sequence[str] = ()
            error: OSError | None = None
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
            except (OSError, UnicodeError) as failure:
                error = failure if isinstance(failure, OSError) else OSError("not a name")
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(settle, addresses, error)

        try:
            threading.Thread(target=ask, name="sightline-names", daemon=True).start()
        except RuntimeError as error:  # no more threads on this machine
            self._slots.release()
            raise OSError(str(error)) from None
        return await answer
