"""The OpenAPI document: it says what there is, no more and no less, and the server keeps to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct, inspect

from miniclaw.admin.api import ENDPOINTS, api_routes
from miniclaw.admin.api.endpoints import NoQuery
from miniclaw.admin.api.openapi import make_document
from miniclaw.admin.client.messages import PREFIX
from miniclaw.config import Home
from miniclaw.web.access.token import load_token
from tests.admin.api.conftest import Office
from tests.fakes.gateway_thread import GatewayThread
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.serving import AT_ANY_PORT

DOCUMENT = make_document(ENDPOINTS)
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]

LEFT_OUT = {"positive_data_acceptance"}
"""Checks that say nothing here: a cursor and the id of an entry are texts, but not any text is one."""


async def test_document_has_every_route_and_no_other(office: Office) -> None:
    """What is served is documented, and what is documented is served."""
    routes = {route.path for route in api_routes(office.context, trusted=False)}  # type: ignore[attr-defined]
    assert {PREFIX + path for path in DOCUMENT["paths"]} == routes
    assert (await office.api.get("/openapi.json")).json == msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    for method, path in OPERATIONS:
        answer = await office.api.ask(method.upper(), path.format(session_id="web_none", entry="none", file="none"))
        assert answer.status != 405, (method, path)


def test_document_is_whole() -> None:
    """Each reference leads somewhere, nothing is defined in vain, and each operation has a name of its own."""
    text = msgspec.json.encode(DOCUMENT).decode()
    named = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert named == set(DOCUMENT["components"]["schemas"])
    ids = [DOCUMENT["paths"][path][method]["operationId"] for method, path in OPERATIONS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_document_has_every_parameter_with_what_is_right(endpoint: Any) -> None:
    """What can be said wrongly is described, so that a refusal can say what would be right."""
    operation = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]
    described = inspect.type_info(endpoint.query)
    assert isinstance(described, inspect.StructType)
    fields = described.fields
    assert [entry["name"] for entry in operation["parameters"] if entry["in"] == "query"] == [
        field.name for field in fields
    ]
    assert endpoint.query is NoQuery or issubclass(endpoint.query, Struct)
    for field in fields:
        assert isinstance(field.type, inspect.Metadata)
        assert field.type.extra is not None
        assert field.type.extra["right"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A gateway with something of everything: its address, and the headers that show its token."""
    home = Home(tmp_path_factory.mktemp("served") / "home")
    now = datetime.now(UTC)
    for days in (0, 1, 31, 60):
        write_session(home.sessions_dir, f"web_{days}", now - timedelta(days=days))
    write_session(home.sessions_dir, "telegram_future", now + timedelta(days=3), pinned=True)
    _write_problems(home.sessions_dir)
    gateway = GatewayThread(home, web=AT_ANY_PORT)
    gateway.start()
    yield gateway.address, {"authorization": f"Bearer {load_token(home.workspace).reveal()}"}
    gateway.stop()


def _write_problems(sessions_dir: Path) -> None:
    (sessions_dir / "web_bad.json").write_text("{")
    (sessions_dir / "notes.txt").write_text("mine")
    (sessions_dir / ".quarantine").mkdir()
    (sessions_dir / ".quarantine" / "web_q.json.20261001T083015Z-0a1b2c3d").write_text("{")


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: value)
def test_server_keeps_to_the_document_whatever_is_asked(
    served: tuple[str, dict[str, str]], method: str, path: str, logs: LogRecorder
) -> None:
    """Asked rightly and wrongly: no failure of the server, no status, type or member that is not documented."""
    address, shown = served
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.update(base_url=address + PREFIX)
    operation = schema[path][method.upper()]
    checks: list[Any] = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ not in LEFT_OUT]
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    @settings(
        max_examples=25,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=checks, headers=shown, session=session)

    with requests.Session() as session:  # one connection: the server has few places, and notices an end a little later
        ask()
    logs.events.clear()  # a cleanup tells of the damaged file with an ERROR
