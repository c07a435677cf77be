"""The OpenAPI document, made from the table of endpoints and msgspec's schemas."""

from __future__ import annotations

import inspect as pyinspect
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from miniclaw.admin.api.endpoints import Endpoint, NoQuery
from miniclaw.admin.client.messages import API_VERSION, PREFIX, VERSION_HEADER, Problem
from miniclaw.version import VERSION
from miniclaw.web.problems import MEDIA_TYPE

_REFERENCES: Final = "#/components/schemas/{name}"

_REFUSALS: Final = {
    400: "The request is not right; the detail says what would be.",
    401: "The token is missing or wrong; only at an address that needs one.",
    403: "The request comes from a page or under a name that may not call this.",
    404: "There is no such thing.",
    409: "It does not go with how things are.",
    413: "The body is too long.",
    415: "The body is not said to be JSON.",
    422: "The body is JSON, but not what is expected.",
    429: "Too many requests; `retry-after` says when to come again.",
    503: "The disk refuses, or the gateway is ending.",
}

_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "session_id": {
        "description": "`{channel}_{chat_id}`, percent-encoded.",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,32}_", "examples": ["telegram_123456789"]},
    },
    "entry": {
        "description": "The id of an entry, or of a session, percent-encoded.",
        "schema": {"type": "string", "minLength": 1},
    },
    "file": {
        "description": "The id of a file in quarantine, its last eight digits, the name that it had, or the id of its "
        "session, percent-encoded.",
        "schema": {"type": "string", "minLength": 1},
    },
}


def make_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of some endpoints; descriptions of schemas are the docstrings of their types."""
    bodies = [endpoint.body for endpoint in endpoints if endpoint.body is not None]
    types = [Problem, *bodies, *(endpoint.answer for endpoint in endpoints)]
    types = [kind for kind in dict.fromkeys(types) if pyinspect.isclass(kind) and issubclass(kind, Struct)]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCES)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = pyinspect.cleandoc(schema["description"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "miniclaw",
            "version": VERSION,
            "description": "The sessions of a running miniclaw gateway: looking, deleting, pinning, cleaning up. "
            f"Every answer has `{VERSION_HEADER}: {API_VERSION}`.",
        },
        "servers": [{"url": PREFIX}],
        "paths": _paths(endpoints),
        "components": {"schemas": schemas},
    }


def _paths(endpoints: Iterable[Endpoint]) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return paths


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^a-z]+', '_', endpoint.path).rstrip('_')}",
        "summary": endpoint.summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, **_PARAMETERS[name]}
                for name in re.findall(r"{(\w+)}", endpoint.path)
            ),
            *_query(endpoint.query),
        ],
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": _schema(endpoint.answer)}}},
            **{str(status): _refusal(status) for status in sorted(_refusals_of(endpoint))},
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(endpoint.body)}},
        }
    return operation


def _refusals_of(endpoint: Endpoint) -> set[int]:
    with_body = {413, 415, 422} if endpoint.body is not None else {413}
    return {400, 401, 403, 429, *endpoint.refuses, *with_body}


def _refusal(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCES.format(name="Problem")}}}
    return {"description": _REFUSALS[status], "content": content}


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCES)
    return schema


def _query(kind: type[Struct]) -> Iterable[dict[str, Any]]:
    if kind is NoQuery:
        return
    _, schemas = msgspec.json.schema_components([kind], ref_template=_REFERENCES)
    for name, schema in schemas[kind.__name__]["properties"].items():
        described = dict(schema)
        parameter = {"name": name, "in": "query", "required": False}
        if "description" in described:
            parameter["description"] = described.pop("description")
        # A parameter without a value is left out of the query: it has no null.
        if "anyOf" in described:
            (described,) = [kind for kind in described.pop("anyOf") if kind != {"type": "null"}]
        yield parameter | {"schema": described}
