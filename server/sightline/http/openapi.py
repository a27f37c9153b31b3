"""The chat route's entry in /openapi.json, made from the table of accepted names, so that the schema cannot drift from the parser."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sightline.http.middleware import CHAT
from sightline.wire import fields

_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")},
        }
    },
}
_REFUSALS = {
    400: "The request is wrong; `code` says how",
    401: "No key, or a wrong one",
    403: "The key may not do that",
    404: "No such model",
    408: "The body did not come",
    413: "Too large",
    415: "Not JSON",
    429: "A limit",
    502: "The engine failed",
    503: "No engine, or too much at once",
    504: "The engine was too slow",
}
_TEXT = {"type": "object", "required": ["type", "text"], "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}
_PICTURE = {
    "type": "object",
    "required": ["type", "image_url"],
    "properties": {
        "type": {"const": "image_url"},
        "image_url": {
            "type": "object",
            "required": ["url"],
            "properties": {
                "url": {"type": "string", "description": "data:image/…;base64,…, https://…, http://… or s3://bucket/key"},
                "detail": {"enum": sorted(fields.DETAILS)},
            },
        },
    },
}
_MESSAGE = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"type": "string"},
        "content": {"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "array", "items": {"anyOf": [_TEXT, _PICTURE]}}]},
        **{name: {} for name in sorted(fields.MESSAGE - {"role", "content"})},
    },
}
_CACHE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "no-cache": {"type": "boolean", "description": "do not read, may write"},
        "no-store": {"type": "boolean", "description": "do not write"},
        "ttl": {"type": "integer", "description": "seconds"},
        "namespace": {"type": "string"},
        "use": {"type": "boolean", "description": "keep a sampled answer too"},
    },
}
_KNOWN: dict[str, Any] = {
    "model": {"type": "string"},
    "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {"type": ["object", "null"], "properties": {name: {"type": "boolean"} for name in sorted(fields.STREAM_OPTIONS)}},
    "cache": _CACHE,
}
_HEADERS = {
    name: {"schema": {"type": "string"}, "description": text}
    for name, text in {
        "x-request-id": "the inbound one if it is a plain word",
        "x-cache": "HIT, MISS, BYPASS or COALESCED",
        "x-image-hash": "the identity of the request's pictures",
        "x-question-hash": "the identity of everything else",
        "age": "seconds since a hit's answer was given first",
        "openai-processing-ms": "milliseconds until the answer began",
    }.items()
}


def with_chat(app: FastAPI) -> dict[str, Any]:
    """FastAPI's schema of the other routes, with the chat route's beside them."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schema["paths"][CHAT] = {"post": _operation()}
        schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
        app.openapi_schema = schema
    return app.openapi_schema


def _operation() -> dict[str, Any]:
    body = {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {name: _KNOWN.get(name, {}) for name in sorted(fields.ACCEPTED)},
        "additionalProperties": False,
    }
    refusals = {
        str(status): {"description": text, "content": {"application/json": {"schema": _ERROR}}} for status, text in _REFUSALS.items()
    }
    answer = {
        "description": "The completion, or with `stream: true` its chunks",
        "headers": _HEADERS,
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}},
    }
    return {
        "tags": ["chat"],
        "summary": "Ask about pictures and text",
        "operationId": "chat_completions",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": answer, **refusals},
    }
