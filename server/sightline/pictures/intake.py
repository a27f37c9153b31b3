"""The bytes behind a picture's URL, whatever its scheme: http, https or s3. Here their outcomes become refusals, metrics and a log line.

`invalid_image_url` depends on the URL's text and the settings alone. Whatever needed the network to find out is `failed_to_download_image`,
in the same words: a name that points inside looks like one that does not exist.
"""

import ssl

import structlog

from sightline.errors import PictureRefused
from sightline.pictures.fetch import Failed, Fetcher, TooLarge
from sightline.pictures.headers import too_many_bytes
from sightline.pictures.s3 import Buckets
from sightline.pictures.sharing import Make, Sharing
from sightline.pictures.urls import NotAllowed
from sightline.resolving import Resolve
from sightline.settings import Images
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import PictureSource


class Intake:
    """`resolve` and `tls` are the machine's own unless given. Raises SettingsError when S3 is set up without its client."""

    def __init__(self, settings: Images, metrics: Metrics, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._fetcher = Fetcher(settings.fetch, settings.max_bytes, resolve, tls)
        self._buckets = Buckets(settings.s3, settings.fetch, settings.max_bytes)
        self._sharing = Sharing(settings.fetch.keep_bytes)

    async def __call__(self, source: PictureSource) -> bytes:
        """The bytes that `source.url` names; raises PictureRefused."""
        result, host = "cancelled", ""
        try:
            name, host, make = self._plan(source.url or "")
            way = self._sharing.way(name)
            data = await self._sharing.get(name, make)
            result = way
        except NotAllowed:
            result = "refused"
            raise PictureRefused(self._not_allowed(), code="invalid_image_url", param=source.param) from None
        except TooLarge:
            result = "too_large"
            refusal = too_many_bytes(self._settings)
            raise PictureRefused(refusal.message, code="image_file_too_large", param=source.param) from None
        except Failed as failed:
            result = "failed"
            structlog.get_logger(__name__).info("picture_fetch.failed", host=host, reason=failed.reason)
            raise PictureRefused(self._failed(), code="failed_to_download_image", param=source.param) from None
        finally:
            self._metrics.image_fetch.labels(result).inc()
        return data

    async def close(self) -> None:
        await self._sharing.close()
        await self._fetcher.close()
        await self._buckets.close()

    def _plan(self, url: str) -> tuple[str, str, Make]:
        """What is fetched, under which name it is shared, and the host or bucket that a log may name. Raises NotAllowed."""
        if url[:5].lower() == "s3://":
            bucket, key = self._buckets.judge(url)
            return f"s3://{bucket}/{key}", bucket, lambda: self._buckets.fetch(bucket, key)
        if not self._settings.fetch.enabled:
            raise NotAllowed
        target = self._fetcher.judge(url)
        return str(target.url), target.host, lambda: self._fetcher.fetch(target)

    def _not_allowed(self) -> str:
        kinds = ["a data URI"]
        if self._settings.fetch.enabled:
            ports = " or ".join(map(str, self._settings.fetch.ports))
            kinds.append(f"an http or https URL with a public host, port {ports}, and no user name, space or backslash in it")
        if self._settings.s3.endpoint is not None:
            kinds.append("s3://bucket/key with a bucket that is served here")
        return f"The picture's URL is not one that is fetched. Send {'; or '.join(kinds)}."

    def _failed(self) -> str:
        seconds = f"{self._settings.fetch.timeout:g} s"
        return f"The picture could not be downloaded. Its URL should answer anybody with 200 and the picture itself, within {seconds}."
