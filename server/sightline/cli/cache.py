"""`sightline cache stats|purge`: what the result cache holds, and forgetting some of it. These walk through the store's keys."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from sightline.cli.serve import ConfigFile
from sightline.settings import Settings, SettingsError, load
from sightline.store.base import OperableStore, StoreError

app = typer.Typer(no_args_is_help=True, help="Look at and clear the result cache in Redis.")
Store = Annotated[str | None, typer.Option(help="The store's URL. Default: the setting `store`.")]
T = TypeVar("T")
PATIENCE = 5.0  # seconds for each look-up: no request waits for it here, and a server that a whole key space is asked of may be busy


@app.command()
def stats(store: Store = None, config: ConfigFile = None) -> None:
    """Print how much the store holds."""
    found = _with_store(store, config, lambda opened, _: opened.stats())
    total = found.hits + found.misses
    typer.echo(f"keys    {found.keys:,}")
    typer.echo(f"bytes   {found.size:,}")
    typer.echo(f"lookups {total:,}, found {found.hits / total:.1%}" if total else "lookups none yet")


@app.command()
def purge(
    *,
    image: Annotated[str | None, typer.Option(help="Answers about the picture with this x-image-hash (needs --tenant).")] = None,
    tenant: Annotated[str | None, typer.Option(help="Answers given to this tenant.")] = None,
    model: Annotated[str | None, typer.Option(help="Answers given by this model.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All answers.")] = False,
    store: Store = None,
    config: ConfigFile = None,
) -> None:
    """Forget answers: of a picture, a tenant, a model, or all."""
    if not (image or tenant or model or everything):
        raise SettingsError("purge: say what to forget: --image, --tenant, --model or --all")
    if image and not tenant:
        raise SettingsError("purge: --image needs --tenant, since every tenant has answers of its own ('anonymous' without keys)")

    from sightline.answers.cache import Cache
    from sightline.answers.keys import pattern
    from sightline.telemetry.metrics import Metrics

    async def forget(opened: OperableStore, settings: Settings) -> int:
        if image and tenant and not model:
            return await Cache(opened, settings.cache, Metrics()).forget_image(tenant, image)
        return await opened.purge(pattern(tenant=tenant, image=image, model=model))

    typer.echo(f"{_with_store(store, config, forget):,} answers forgotten")


def _with_store(url: str | None, config: ConfigFile, work: Callable[[OperableStore, Settings], Awaitable[T]]) -> T:
    import structlog

    from sightline.store.open import open_store
    from sightline.telemetry.metrics import Metrics

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # what fails is told once, below
    settings = load(config, flags={"store": url})
    address = settings.store.get_secret_value()
    if address.startswith("memory:"):
        raise SettingsError("store: memory:// lives inside the gateway's process; name a redis:// URL with --store")

    patient = settings.cache.model_copy(update={"timeout": max(settings.cache.timeout, PATIENCE)})

    async def main() -> T:
        opened = open_store(address, patient, Metrics())
        try:
            return await work(opened, settings)
        finally:
            await opened.close()

    try:
        return asyncio.run(main())
    except StoreError as error:
        raise SettingsError(f"store: it could not be asked ({error.reason})") from None
