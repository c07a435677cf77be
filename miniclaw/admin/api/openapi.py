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
    400: "The path, the query, the JSON or the `Host` header is invalid; the detail says what would be valid.",
    401: "The token is missing or wrong; only at an address that needs one.",
    403: "The page that sends the request has another origin.",
    405: "The path does not have this method; the header `allow` has its methods.",
    408: "The body took too long.",
    413: "The body is too long.",
    414: "The path or the query is too long.",
    421: "The server is not called by this host name.",
    429: "Too many requests; the header `retry-after` has the seconds to wait.",
    431: "The head of the request is too long.",
    500: "A bug; the log has the traceback.",
    503: "The disk refuses, the gateway is stopping, or too many requests are in progress.",
}
"""Refusals of any request, by status."""

_NAMED_REFUSALS: Final = {
    404: "There is no such session, entry or file.",
    409: "The session exists already or is in use, the file is damaged, or the id matches several files.",
}
"""Refusals of a request that names one session, entry or file in its path."""

_BODY_REFUSALS: Final = {
    415: "The content type is not JSON.",
    422: "The body is JSON, but not of the expected form.",
}
"""Refusals of a request with a body."""

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
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "miniclaw",
            "version": VERSION,
            "description": "The sessions of a running miniclaw gateway: looking, deleting, pinning, cleaning up. "
            f"Every answer of an endpoint has `{VERSION_HEADER}: {API_VERSION}`; the refusal of a request that reaches "
            "no endpoint may lack it.",
        },
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    refusal = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCES.format(name="Problem")}}}
    refusals = _REFUSALS | (_NAMED_REFUSALS if "{" in endpoint.path else {})
    if endpoint.body is not None:
        refusals |= _BODY_REFUSALS
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
            "200": {
                "description": "Done.",
                "headers": {VERSION_HEADER: {"required": True, "schema": {"const": str(API_VERSION)}}},
                "content": {"application/json": {"schema": _schema(endpoint.answer)}},
            },
            **{str(status): {"description": text, "content": refusal} for status, text in sorted(refusals.items())},
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(endpoint.body)}},
        }
    return operation


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
