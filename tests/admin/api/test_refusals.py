"""What is not right is refused, by the name of what it is, with what would be right; and nothing is done."""

from __future__ import annotations

import pytest

from miniclaw import errors
from miniclaw.admin.api import ENDPOINTS
from miniclaw.admin.api.refusals import refusal
from miniclaw.errors import MiniclawError
from miniclaw.web.limits import DEFAULT_LIMITS
from tests.admin.api.conftest import Office

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("path", "field", "says"),
    [
        ("/sessions?limit=0", "limit", "'0' is not a whole number from 1 to 1000"),
        ("/sessions?limit=1001", "limit", "'1001' is not a whole number from 1 to 1000"),
        ("/sessions?limit=1e3", "limit", "'1e3' is not"),
        ("/sessions?limit=", "limit", "'' is not"),
        ("/sessions?limit=%201", "limit", "' 1' is not"),
        ("/sessions?limit=%D9%A1", "limit", "is not a whole number"),
        ("/sessions?limit=1&limit=2", "limit", "it is given twice"),
        ("/sessions?limt=1", "limt", "unknown; known here are channel, older_than, state, sort, limit, cursor"),
        ("/sessions?channel=A", "channel", "'A' is not a channel: 1 to 32 of a-z, 0-9 and -"),
        ("/sessions?channel=web%0A", "channel", "is not a channel"),
        ("/sessions?older_than=7", "older_than", "'7' is not a whole number and a unit"),
        ("/sessions?older_than=999999999w", "older_than", "longer than the calendar"),
        ("/sessions?state=old", "state", "'old' is not one of expired, pinned, future, going, kept"),
        ("/sessions?sort=Age", "sort", "'Age' is not one of recent, age, size, name"),
        ("/sessions?cursor=x", "cursor", "it is no cursor"),
        ("/sessions?cursor=W10", "cursor", "it is no cursor"),
        ("/sessions?sort=name&cursor=WyJhZ2UiLDEsIngiXQ", "cursor", "it is of the order 'age', not 'name'"),
        ("/sessions?cursor=WyJyZWNlbnQiLCJ0ZXh0IiwieCJd", "cursor", "it is no cursor"),
        ("/sessions?%FF=1", None, "a query is percent-encoded UTF-8"),
        ("/sessions/web_a?x=1", "x", "unknown; there are no parameters here"),
        ("/sessions/%FF", "path", "it is percent-encoded UTF-8"),
        ("/sessions/nonsense", None, "a session id is {channel}_{chat_id}"),
        ("/sessions/Web_a", None, "a channel is 1 to 32 of a-z, 0-9 and -"),
        ("/cleanup/forecast?days=-1", "days", "'-1' is not a whole number from 0 to 3650"),
        ("/cleanup/forecast?days=3651", "days", "'3651' is not"),
        ("/cleanup/plan?limit=-1", "limit", "'-1' is not a whole number from 0 to 1000"),
        ("/history?limit=0", "limit", "'0' is not"),
        ("/trash?cursor=x", "cursor", "it is no cursor"),
        ("/config?verbose=true", "verbose", "unknown"),
    ],
)
async def test_query_and_path_that_are_not_right_are_400(office: Office, path: str, field: str, says: str) -> None:
    """Parameters are few, each is checked, and none is ignored."""
    office.add("web_a", days=1)
    problem = (await office.api.ask("GET", path)).refused(400)
    assert problem.get("field") == field
    assert says in problem["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status", "field", "says"),
    [
        ("/sessions/delete", b"", 400, None, "the body is no JSON"),
        ("/sessions/delete", b"{", 400, None, "the body is no JSON"),
        ("/sessions/delete", b"[" * 5000, 400, None, "the body is no JSON"),
        ("/sessions/delete", b'{"session_ids": ' + b"[" * 100_000, 400, None, "the body is no JSON"),
        ("/sessions/delete", b'{"\xff": 1}', 400, None, "the body is no JSON"),
        ("/sessions/delete", b"[" * 500 + b"]" * 500, 422, None, "the body is an object with session_ids, erase"),
        ("/sessions/delete", b"[]", 422, None, "the body is an object with session_ids, erase"),
        ("/sessions/delete", b"{}", 422, "session_ids", "it is missing; it is a list of 1 to 1000 texts"),
        ("/sessions/delete", b'{"session_ids": []}', 422, "session_ids", "it is not a list of 1 to 1000 texts"),
        ("/sessions/delete", b'{"session_ids": [1]}', 422, "session_ids", "a list of 1 to 1000 texts"),
        ("/sessions/delete", b'{"session_ids": ["web_a"], "erase": "yes"}', 422, "erase", "it is not true or false"),
        (
            "/sessions/delete",
            b'{"session_ids": ["web_a"], "force": true}',
            422,
            "force",
            "unknown; known here are session_ids, erase",
        ),
        (
            "/sessions/delete",
            b'{"session_ids": [' + b'"x",' * 1000 + b'"x"]}',
            422,
            "session_ids",
            "it is not a list of 1 to 1000 texts",
        ),
        ("/cleanup/run", b'{"confirmed": 1}', 422, "confirmed", "it is not true or false"),
        ("/cleanup/run", b"null", 422, None, "the body is an object with confirmed"),
        ("/trash/empty", b'{"entries": []}', 422, "entries", "it is not a list of 1 to 1000 texts"),
        ("/save", b"{}", 400, None, "this takes no body"),
        ("/cleanup/stop", b"x", 400, None, "this takes no body"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_body_that_is_not_right_is_refused(
    office: Office, path: str, body: bytes, status: int, field: str | None, says: str
) -> None:
    """No JSON is 400, another JSON than expected is 422; nothing is done."""
    office.add("web_a", days=40)
    problem = (await office.api.ask("POST", path, content=body, headers=JSON)).refused(status)
    assert problem.get("field") == field
    assert says in problem["detail"]
    assert office.left() == {"web_a.json"}


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_body_that_is_not_said_to_be_json_is_415(office: Office, content_type: str | None) -> None:
    """A form of another page is no order."""
    office.add("web_a", days=40)
    headers = {} if content_type is None else {"content-type": content_type}
    answer = await office.api.ask("POST", "/cleanup/run", content=b"{}", headers=headers)
    assert "application/json" in answer.refused(415)["detail"]
    assert office.left() == {"web_a.json"}


async def test_json_may_have_a_charset(office: Office) -> None:
    """What clients add to it is no reason to refuse."""
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await office.api.ask("POST", "/cleanup/run", content=b"{}", headers=headers)).status == 200


async def test_body_that_is_too_long_is_413(office: Office) -> None:
    """However it comes."""
    answer = await office.api.ask(
        "POST", "/cleanup/run", content=b" " * (DEFAULT_LIMITS.max_body_bytes + 1), headers=JSON
    )
    answer.refused(413)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
async def test_method_that_is_not_for_a_path_is_405_with_those_that_are(office: Office, method: str) -> None:
    """For each path: what is allowed is told, and it is what there is."""
    by_path: dict[str, set[str]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, set()).add(endpoint.method)
    for path, methods in by_path.items():
        if method in methods:
            continue
        answer = await office.api.ask(method, path.format(session_id="web_a", entry="web_a", file="web_a"))
        answer.refused(405)
        assert {name.strip() for name in answer.headers["allow"].split(",")} - {"HEAD"} == methods


async def test_head_is_get_without_a_body(office: Office) -> None:
    """As HTTP wants it."""
    answer = await office.api.ask("HEAD", "/config")
    assert (answer.status, answer.body) == (200, b"")


async def test_path_that_there_is_not_is_404(office: Office) -> None:
    """Also one that looks nearly right."""
    for path in ("/nothing", "/sessions/", "/sessions/web_a/pin/", "/sessions//pin", "//sessions"):
        (await office.api.get(path)).refused(404)


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MiniclawError)],
)
def test_every_error_has_a_status(kind: type[MiniclawError]) -> None:
    """Those of the store are never an error of the program; what is nobody's fault here is not the client's."""
    error = kind.__new__(kind)
    error.args = ("a sentence",)
    response = refusal(error)
    assert 400 <= response.status_code < 600
    if issubclass(kind, errors.StoreError | errors.InvalidSessionIdError):
        assert response.status_code != 500
    assert b"a sentence" in response.body
