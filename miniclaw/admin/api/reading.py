"""Decoding of a request: path, query and body; a refusal names the invalid part.

`miniclaw.web.server.bodies` bounds the length of a body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from msgspec import Struct, inspect
from starlette.requests import Request

from miniclaw.admin.api.refusals import RequestRefusedError
from miniclaw.config.misfits import find_misfit

S = TypeVar("S", bound=Struct)

_MAX_PARAMETERS: Final = 20
_SHOWN_CHARS: Final = 60
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS: Final = {"true": True, "false": False}


def read_segment(segment: str) -> str:
    """Return a segment of the path, decoded; raises `RequestRefusedError` if it is not percent-encoded UTF-8."""
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise RequestRefusedError(400, "it is percent-encoded UTF-8", field="path") from None


def read_query(query: bytes, kind: type[S]) -> S:
    """Return the parameters of a query; the `Meta.extra` of each field of their type describes its valid values.

    Raises:
        RequestRefusedError: A parameter is unknown, given twice, or invalid.
    """
    known = _members(kind)
    values: dict[str, Any] = {}
    for name, text in _pairs(query):
        if name not in known:
            raise RequestRefusedError(400, _unknown(known), field=_short(name))
        if name in values:
            raise RequestRefusedError(400, "it is given twice", field=name)
        if text.endswith("\n"):  # the `$` of a pattern matches before it
            raise RequestRefusedError(400, _not_right(text, known[name].type), field=name)
        values[name] = _value(text, known[name].type)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        (name,) = find_misfit(values, kind).path
        text = next(text for found, text in _pairs(query) if found == name)
        raise RequestRefusedError(400, _not_right(text, known[name].type), field=name) from error


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:  # UnicodeDecodeError is one
        raise RequestRefusedError(400, "a query is percent-encoded UTF-8, and has few parameters") from error


def _unknown(known: Mapping[str, object]) -> str:
    return f"unknown; known here are {', '.join(known)}" if known else "unknown; there are no parameters here"


def _value(text: str, kind: inspect.Type) -> object:
    """Return the number or truth value that a text stands for, if one is expected; else the text."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.IntType) and _INTEGER.fullmatch(text):
        return int(text)
    if isinstance(kind, inspect.BoolType):
        return _BOOLEANS.get(text, text)
    return text


def _not_right(text: str, kind: inspect.Type) -> str:
    return f"{_short(repr(text))} is not {_right(kind)}"


def _right(kind: inspect.Type) -> str:
    return str(kind.extra["right"]) if isinstance(kind, inspect.Metadata) and kind.extra else "what is expected here"


def _members(kind: type[Struct]) -> dict[str, inspect.Field]:
    return {field.encode_name: field for field in inspect.type_info(kind).fields}  # type: ignore[attr-defined]


async def read_body(request: Request, kind: type[S]) -> S:
    """Return the body of a request; the `Meta.extra` of each member of its type describes its valid values.

    Raises:
        RequestRefusedError: The body is no JSON, or not of this type.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RequestRefusedError(415, "the body is JSON: content-type: application/json", field="content-type")
    body = await request.body()
    try:
        document = msgspec.json.decode(body)
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise _refusal(document, kind) from error
    except (ValueError, RecursionError) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
        raise RequestRefusedError(400, f"the body is no JSON: {error}") from error


async def refuse_body(request: Request) -> None:
    """Raise `RequestRefusedError` if a request has a body."""
    if await request.body():
        raise RequestRefusedError(400, "this takes no body")


def _refusal(document: object, kind: type[Struct]) -> RequestRefusedError:
    """Return the refusal of an invalid body, with its first invalid member and the values that are valid there."""
    misfit = find_misfit(document, kind)
    members = _members(kind)
    if not misfit.path:
        return RequestRefusedError(422, f"the body is an object with {', '.join(members)}")
    (name,) = misfit.path
    match misfit.kind:
        case "unknown":
            problem = _unknown(members)
        case "missing":
            problem = f"it is missing; it is {_right(members[name].type)}"
        case "wrong":
            problem = f"it is not {_right(members[name].type)}"
    return RequestRefusedError(422, problem, field=_short(name))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
