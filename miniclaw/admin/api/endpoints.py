"""Endpoints: one method at one path, with the types of its query, body and answer.

The routes and the OpenAPI document are made from the same table, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import NoneType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_type_hints
from urllib.parse import quote

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from miniclaw.admin.api.progress import respond
from miniclaw.admin.api.reading import read_body, read_query, read_segment, refuse_body
from miniclaw.admin.api.refusals import refusal
from miniclaw.admin.client.messages import API_VERSION, PREFIX, VERSION_HEADER
from miniclaw.admin.context import AdminContext
from miniclaw.errors import MiniclawError
from miniclaw.formats import escaped_json
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.records.history import Actor
from miniclaw.web.problems import problem

Q = TypeVar("Q")
B = TypeVar("B")


class NoQuery(Struct, forbid_unknown_fields=True):
    """No parameters."""


@dataclass(frozen=True)
class Call(Generic[Q, B]):
    """One request, read and checked, with the operations of its caller as actor.

    `name` is the variable part of the path, and empty if there is none.
    """

    context: AdminContext
    operations: SessionOperations
    name: str
    query: Q
    body: B


class RawJson(bytes):
    """An answer that is encoded as JSON already."""


Handler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[object]]
Method: TypeAlias = Literal["GET", "PUT", "POST", "DELETE"]


class Endpoint:
    """One method at one path. The types and the sentence for the document are those of the handler.

    Args:
        method: The method; ``GET`` includes ``HEAD``.
        path: Below `PREFIX`, with at most one part in braces.
        handle: Handles the request, and returns the answer, which is encoded as JSON. Its signature is
            ``(call: Call[query, body]) -> answer``, where a body of None means that there is none.
        answer: The type of the answer; None: that of the handler.
    """

    def __init__(self, method: Method, path: str, handle: Handler, answer: Any = None) -> None:
        self.method = method
        self.path = path
        self.handle = handle
        call, returned = get_type_hints(handle).values()
        query, body = get_args(call)
        self.query: Any = query
        self.body: Any = None if body is NoneType else body
        self.answer: Any = answer or returned
        self.summary: str | None = handle.__doc__


def make_routes(context: AdminContext, endpoints: Iterable[Endpoint], *, by: Actor) -> list[BaseRoute]:
    """Return one route for each path, with all its methods."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [_RawRoute(PREFIX + path, _Resource(context, methods, by)) for path, methods in by_path.items()]


class _RawRoute(Route):
    """A route that matches the undecoded path: a ``/`` within a session's id differs from a separator."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        return super().matches({**scope, "path": raw.partition(b"?")[0].decode("latin-1")})


class _Resource:
    """ASGI application of one path."""

    def __init__(self, context: AdminContext, methods: Mapping[str, Endpoint], by: Actor) -> None:
        self._context = context
        self._methods = methods
        self._by = by
        self._allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(self._respond, scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        response = await self._answer(request)
        response.headers[VERSION_HEADER] = str(API_VERSION)
        response.headers["cache-control"] = "no-store"
        return response

    async def _answer(self, request: Request) -> Response:
        endpoint = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            detail = f"{request.method} is not for this path; it takes {self._allowed}"
            return problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"allow": self._allowed})
        try:
            answer = await endpoint.handle(await self._read(request, endpoint))
        except MiniclawError as error:
            return refusal(error)
        data = answer if isinstance(answer, RawJson) else escaped_json(msgspec.json.encode(answer))
        return Response(data, media_type="application/json")

    async def _read(self, request: Request, endpoint: Endpoint) -> Call[Any, Any]:
        (segment,) = request.path_params.values() or ("",)
        query = read_query(request.scope["query_string"], endpoint.query)
        body = None
        if endpoint.body is None:
            await refuse_body(request)
        else:
            body = await read_body(request, endpoint.body)
        return Call(self._context, self._context.operations.acting(self._by), read_segment(segment), query, body)
