"""The application's own answers: errors in one form, strict headers on everything, and nothing from inside."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from miniclaw.config.web import WebConfig
from miniclaw.web.headers import STRICT_HEADERS
from miniclaw.web.limits import Limits
from tests.fakes.logs import LogRecorder
from tests.fakes.web_server import Answer, Running, open_test_server, request

OVER = pytest.mark.parametrize("over", ["tcp", "unix"])


async def every_kind_of_answer(running: Running) -> dict[str, Answer]:
    return {
        "found": await running.get(),
        "head": await running.get(method="HEAD"),
        "not found": await running.get("/nothing"),
        "method": await running.get(method="DELETE"),
        "options": await running.get(method="OPTIONS"),
        "failed": await running.get("/boom"),
        "malformed": await running.ask(b"\0\r\n\r\n"),
        "host": await running.get(host="evil.example"),
        "origin": await running.get("/api", method="POST", origin="https://evil.example"),
        "websocket": await running.refused_websocket(origin="https://evil.example"),
        "no websocket": await running.refused_websocket("/nothing"),
        "bad handshake": await running.refused_websocket(sec_websocket_version="8"),
        "too large": await running.get("/api", method="POST", content_length="99999999"),
        "too long": await running.get("/" + "x" * 3000),
        "streamed": await running.get("/half"),
    }


async def test_every_kind_of_answer_has_the_strict_headers_once(tmp_path: Path, logs: LogRecorder) -> None:
    """There is no answer without them, whoever gives it, and none says what software it is."""
    logs.expect_error("Web request failed")
    async with open_test_server(tmp_path) as running:
        for kind, answer in (await every_kind_of_answer(running)).items():
            for name, value in STRICT_HEADERS:
                found = [text for field, text in answer.fields if field == name.decode()]
                assert found == [value.decode()], f"{kind}: {name.decode()}"
            assert "server" not in answer.headers, kind
            assert not [name for name, _ in answer.fields if name.startswith("access-control-")], kind


def test_policy_of_content_allows_no_inline_script() -> None:
    """Scripts come from our own files only, and no page may frame ours."""
    policy = dict(STRICT_HEADERS)[b"content-security-policy"].decode()
    assert "unsafe" not in policy
    assert {"default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(
        policy.split("; ")
    )


@OVER
async def test_unknown_path_is_a_problem(tmp_path: Path, over: str) -> None:
    """404 says in our form what is not there; no path is corrected by a redirect."""
    async with open_test_server(tmp_path) as running:
        answer = await running.get("/api/", over=over)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json() == {"title": "Not Found", "status": 404, "detail": "there is nothing at /api/"}


async def test_unknown_method_is_a_problem_that_says_what_is_possible(tmp_path: Path) -> None:
    """405 names the methods of all routes of the path, and OPTIONS asks for just that."""
    async with open_test_server(tmp_path) as running:
        answer = await running.get("/api", method="BREW")
        allowed = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert [name for name, _ in answer.fields].count("allow") == 1
        options = await running.get("/api", method="OPTIONS")
        assert (options.status, options.headers["allow"], options.body) == (204, allowed, b"")


async def test_head_is_get_without_a_body(tmp_path: Path) -> None:
    """HEAD has the headers of GET."""
    async with open_test_server(tmp_path) as running:
        got, head = await running.get(), await running.get(method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]


@OVER
async def test_failure_of_a_handler_is_told_without_its_reason(tmp_path: Path, logs: LogRecorder, over: str) -> None:
    """500 says nothing from inside; the log has one event with the traceback; the next request is served."""
    logs.expect_error("Web request failed")
    async with open_test_server(tmp_path) as running:
        answer = await running.get("/boom", over=over)
        assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
        assert b"secret" not in answer.raw
        assert b"Error:" not in answer.raw
        assert (await running.get(over=over)).status == 200
    event = logs.one("Web request failed")
    assert (event["level"], event["method"], event["path"]) == ("error", "GET", "/boom")
    assert "RuntimeError: the secret inside" in event["traceback"]


async def test_failure_in_the_middle_of_an_answer_breaks_it_off(tmp_path: Path, logs: LogRecorder) -> None:
    """A client can tell that half an answer is half: it has no end."""
    logs.expect_error("Web request failed")
    async with open_test_server(tmp_path) as running:
        answer = await running.get("/half")
        assert b"half" in answer.body
        assert not answer.raw.endswith(b"0\r\n\r\n")
    assert len(logs.named("Web request failed")) == 1


async def test_server_writes_nothing_to_standard_error(
    tmp_path: Path, logs: LogRecorder, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """hypercorn's log is ours: nothing reaches the terminal by itself, whatever clients do."""
    logs.expect_error("Web request failed")
    with caplog.at_level(logging.DEBUG):
        async with open_test_server(tmp_path) as running:
            await every_kind_of_answer(running)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    requests = logs.named("Request")
    assert {event["level"] for event in requests} == {"debug"}


async def test_log_of_requests_has_no_query(tmp_path: Path, logs: LogRecorder) -> None:
    """What stands in a query is nobody's business."""
    async with open_test_server(tmp_path) as running:
        await running.get("/?token=hidden")
    assert "hidden" not in repr(logs.events)


@OVER
@pytest.mark.parametrize("target", ["/" + "x" * 13 * 1024, "/?" + "x" * (13 * 1024 + 1)])
async def test_target_beyond_the_bounds_is_refused(tmp_path: Path, target: str, over: str) -> None:
    """A path or a query that is too long is refused by 414; at the bound it is not."""
    async with open_test_server(tmp_path) as running:
        assert (await running.get(target, over=over)).status == 414
        assert (await running.get(target[:-1], over=over)).status in {200, 404}


async def test_requests_at_the_same_time_are_bounded(tmp_path: Path) -> None:
    """Beyond the bound there is 503 at once, and when one has ended there is room again."""
    async with open_test_server(tmp_path, limits=Limits(max_requests=1)) as running, await running.connect() as first:
        await first.send_all(request(path="/hold"))
        await running.app.held.wait()
        answer = await running.get()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await running.get(over="unix")).status == 200  # the user's own way in is bounded by itself
        running.app.release.set()
        assert await first.receive_some()
        await running.forgotten()
        assert (await running.get()).status == 200


async def test_requests_of_one_client_are_bounded_by_a_rate(tmp_path: Path) -> None:
    """Beyond the burst there is 429 that says when to come again, for websockets too; the Unix socket has no rate."""
    limits = Limits(loopback_request_burst=3, loopback_requests_per_second=0.01)
    async with open_test_server(tmp_path, limits=limits) as running:
        assert [(await running.get()).status for _ in range(5)] == [200, 200, 200, 429, 429]
        answer = await running.get()
        assert 1 <= int(answer.headers["retry-after"]) <= 100
        assert (await running.refused_websocket()).status == 429
        assert [(await running.get(over="unix")).status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("host", ["::1"])
async def test_server_at_an_ipv6_address_is_reached_by_it(tmp_path: Path, host: str) -> None:
    """IPv6 works like IPv4."""
    async with open_test_server(tmp_path, config=WebConfig(host=host, port=0)) as running:
        assert running.server.addresses == (f"http://[::1]:{running.port}",)
