"""The paths, and thin handlers that parse, call one function and render: FastAPI serves all but the chat route, whose entry it lists."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

import sightline
from sightline.errors import InvalidRequest, MethodNotAllowed, NotFound, PermissionDenied, SightlineError
from sightline.gateway import Gateway
from sightline.http import openapi, responses
from sightline.http.middleware import CHAT, METRICS, Lifecycle
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


def build(gateway: Gateway, settings: Settings, metrics: Metrics, lifecycle: Lifecycle, lifespan: Lifespan) -> FastAPI:
    app = FastAPI(
        title="Sightline",
        version=sightline.__version__,
        summary="OpenAI-compatible chat completions about pictures.",
        lifespan=lifespan,
        docs_url="/docs" if settings.docs else None,
        openapi_url="/openapi.json" if settings.docs else None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        exception_handlers={
            SightlineError: _render,
            HTTPException: _render_http,
            RequestValidationError: _render_validation,
        },
    )
    app.openapi = lambda: openapi.with_chat(app)  # type: ignore[method-assign]  # FastAPI's own way to extend its schema

    @app.get("/v1/models", tags=["models"], summary="The models and LoRA adapters that the engines serve")
    async def list_models(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": gateway.models(request.scope["caller"])}

    @app.get("/v1/models/{model:path}", tags=["models"], summary="One of them")
    async def get_model(model: str, request: Request) -> dict[str, Any]:
        return gateway.model(model, request.scope["caller"])

    @app.delete(
        "/v1/cache/images/{image_hash}", tags=["cache"], summary="Forget every cached answer about one picture of the caller's tenant"
    )
    async def forget_image(image_hash: str, request: Request) -> dict[str, Any]:
        forgotten = await gateway.forget_image(image_hash, request.scope["caller"])
        return {"object": "cache.image.deleted", "image_hash": image_hash, "answers": forgotten}

    @app.get("/health/live", tags=["health"], summary="The event loop turns")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", tags=["health"], summary="New work is taken: not draining, and an engine is up")
    async def ready() -> Response:
        status = "draining" if lifecycle.draining else "ready" if gateway.ready else "no engine is up"
        return JSONResponse({"status": status}, 200 if status == "ready" else 503, {"retry-after": "2"} if status != "ready" else None)

    @app.get("/", include_in_schema=False)
    async def root() -> PlainTextResponse:
        return PlainTextResponse(f"Sightline answers at POST {CHAT}{'; the documentation is at /docs' if settings.docs else ''}.\n")

    if settings.metrics_port is None and (settings.serves_loopback or settings.keys_file is not None):

        @app.get(METRICS, tags=["operations"], summary="Prometheus metrics", response_class=PlainTextResponse)
        async def read_metrics(request: Request) -> Response:
            if not settings.serves_loopback:
                request.scope["caller"].require("metrics")
            return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


async def _render(_: Request, error: Any) -> Response:
    status, headers, body = responses.render(error)
    response = Response(body, status)
    response.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
    return response


async def _render_http(request: Request, error: Any) -> Response:
    """The framework's own refusals in our shape."""
    if error.status_code == 405:
        response = await _render(request, MethodNotAllowed(f"{request.method} is not allowed here; {error.headers['Allow']} is."))
        response.headers["allow"] = error.headers["Allow"]  # RFC 9110 §15.5.6
        return response
    if error.status_code == 404:
        more = " GET /openapi.json lists what there is." if request.app.openapi_url else ""
        return await _render(request, NotFound(f"There is nothing at {request.url.path[:100]}.{more}"))
    return await _render(
        request, PermissionDenied("That is not allowed.") if error.status_code == 403 else InvalidRequest("The request is wrong.")
    )


async def _render_validation(request: Request, error: Any) -> Response:
    where = ".".join(str(part) for part in error.errors()[0]["loc"])
    return await _render(request, InvalidRequest(f"{where} is not valid.", param=where))
