"""Pictures from buckets: `s3://bucket/key` through the one S3-compatible endpoint that the operator has named.

The client is aiobotocore (the extra `s3`), loaded when the first such picture comes. A key is taken as it is written: nothing in it is
percent-decoded, and nothing in it may be read as a path to another bucket.
"""

import asyncio
import contextlib
import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from sightline.pictures.fetch import Failed, Fetched, TooLarge
from sightline.pictures.urls import NotAllowed
from sightline.settings import S3, Fetch, SettingsError

_OBJECT = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
_PLAIN = ("", "identity", "aws-chunked")  # the last is how it was uploaded, not how it comes
_KEY_BYTES = 1024
_CHUNK = 2**18


class Buckets:
    """Reads objects of at most `max_bytes`. Raises SettingsError when an endpoint is set and the client is not installed."""

    def __init__(self, settings: S3, fetch: Fetch, max_bytes: int) -> None:
        self._settings = settings
        self._fetch = fetch
        self._max_bytes = max_bytes
        self._slots = asyncio.Semaphore(fetch.concurrency)
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._stack = contextlib.AsyncExitStack()
        if settings.endpoint is not None and importlib.util.find_spec("aiobotocore") is None:
            raise SettingsError("images.s3.endpoint: pictures in S3 need a client that is not installed: pip install 'sightline[s3]'")

    def judge(self, url: str) -> tuple[str, str]:
        """The bucket and key that `url` names, if they may be read; raises NotAllowed."""
        found = _OBJECT.fullmatch(url)
        if self._settings.endpoint is None or found is None or _UNSAFE.search(url):
            raise NotAllowed
        bucket, key = found[1], found[2]
        if bucket != bucket.lower() or ".." in bucket or (self._settings.buckets and bucket not in self._settings.buckets):
            raise NotAllowed
        if len(key.encode()) > _KEY_BYTES or any(step in {"", ".", ".."} for step in key.split("/")):
            raise NotAllowed
        return bucket, key

    async def fetch(self, bucket: str, key: str) -> Fetched:
        """The object's bytes. Raises Failed or TooLarge within the time limit."""
        try:
            async with asyncio.timeout(self._fetch.timeout), self._slots:
                return await self._get(await self._opened(), bucket, key)
        except TimeoutError:
            raise Failed("time") from None

    async def close(self) -> None:
        await self._stack.aclose()

    async def _get(self, client: Any, bucket: str, key: str) -> Fetched:
        from aiohttp import ClientError as Interrupted
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # type: ignore[import-untyped]  # ships no types

        try:
            answer = await client.get_object(Bucket=bucket, Key=key)
            async with answer["Body"] as body:
                return Fetched(await self._read(answer, body), self._fetch.keep_seconds)
        except ClientError:
            raise Failed("status") from None
        except HTTPClientError:
            raise Failed("connect") from None
        except (BotoCoreError, Interrupted, OSError, ValueError):
            raise Failed("broken") from None

    async def _read(self, answer: Mapping[str, Any], body: Any) -> bytes:
        if answer.get("ContentEncoding", "").lower() not in _PLAIN:
            raise Failed("encoding")
        if answer.get("ContentLength", 0) > self._max_bytes:
            raise TooLarge
        data = bytearray()
        async for chunk in body.iter_chunks(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise TooLarge
        return bytes(data)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                session, config = await asyncio.to_thread(_prepare, self._fetch)
                secret = self._settings.secret_key
                self._client = await self._stack.enter_async_context(
                    session.create_client(
                        "s3",
                        endpoint_url=self._settings.endpoint,
                        region_name=self._settings.region,
                        aws_access_key_id=self._settings.access_key and self._settings.access_key.get_secret_value(),
                        aws_secret_access_key=secret and secret.get_secret_value(),
                        config=config,
                    )
                )
            return self._client


def _prepare(fetch: Fetch) -> tuple[Any, Any]:
    """A session that has read its models from disk, which takes longer than the event loop may stand still, and its configuration."""
    from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # ships no types
    from aiobotocore.session import get_session  # type: ignore[import-untyped]  # ships no types

    session = get_session()
    loader = session.get_component("data_loader")
    for name in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"):
        with contextlib.suppress(Exception):  # what cannot be read ahead is read, or missed, by the client itself
            loader.load_service_model("s3", name)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        with contextlib.suppress(Exception):
            loader.load_data(name)
    config = AioConfig(
        connect_timeout=fetch.timeout,
        read_timeout=fetch.timeout,
        max_pool_connections=fetch.concurrency,
        retries={"total_max_attempts": 2, "mode": "standard"},
        proxies={},  # none from the environment
        s3={"addressing_style": "path"},  # a bucket's name is not a host's: works with every endpoint
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session, config
