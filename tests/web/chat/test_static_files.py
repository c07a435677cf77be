"""The page and its files as they are served."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from miniclaw.web.chat.static_files import static_paths, static_routes

STATIC = files("miniclaw.web.chat").joinpath("static")
PAGES = {"index.html": "/", "login.html": "/login"}


async def get(path: str, *, method: str = "GET", **headers: str) -> Response:
    """Return the answer to a request."""
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": lines, "query_string": b""}
    [route] = [route for route in static_routes() if route.matches(scope)[0] is Match.FULL]
    assert isinstance(route, Route)
    response = await route.endpoint(Request(scope))
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize("path", PAGES.values())
async def test_page_is_kept_and_asked_for_again_with_its_etag(path: str) -> None:
    """A page is a page, may do nothing but what is its own, and costs nothing while it stays the same."""
    page = await get(path)
    assert (page.status_code, page.media_type) == (200, "text/html; charset=utf-8")
    assert bytes(page.body).startswith(b"<!doctype html>")
    assert page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    again = await get(path, if_none_match=page.headers["etag"])
    assert (again.status_code, again.body) == (304, b"")
    assert (await get(path, if_none_match='"other"')).status_code == 200


@pytest.mark.parametrize("name", sorted(file.name for file in STATIC.iterdir() if file.name not in PAGES))
async def test_static_file_has_a_type_and_nothing_foreign_in_it(name: str) -> None:
    """Every file is served as what it is, loads nothing from elsewhere, and makes no HTML of text."""
    response = await get(f"/static/{name}")
    assert response.status_code == 200
    assert response.media_type is not None
    text = bytes(response.body).decode()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in text
    foreign = re.findall(r"https?://(?!www\.w3\.org/2000/svg)[\w.]+", text)
    assert foreign == []


def test_page_has_no_script_or_style_of_its_own_and_all_its_files_are_there() -> None:
    """What the page names exists, and what the policy forbids is not in it."""
    pages = [STATIC.joinpath(name).read_text() for name in PAGES]
    assert [page for page in pages if re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page)] == []
    names = {name for page in pages for name in re.findall(r'"/static/([\w.]+)"', page)}
    scripts = [file for file in STATIC.iterdir() if file.name.endswith(".js")]
    imported = {name for file in scripts for name in re.findall(r'from "\./([\w.]+)"', file.read_text())}
    assert names | imported | set(PAGES) == {file.name for file in STATIC.iterdir()}


def test_static_paths_are_those_of_the_routes() -> None:
    """The paths that need no token are the files' own, and no pattern that could match another one."""
    assert static_paths() == {route.path for route in static_routes()}
    assert not any("{" in path for path in static_paths())


async def test_static_routes_serve_nothing_else() -> None:
    """There is a route for each file, and for nothing beside or above them."""
    await trio.lowlevel.checkpoint()
    for path in (
        "/static/",
        "/static/../routes.py",
        "/static/index.html",
        "/index.html",
        "/login.html",
        "/static/chat.css/x",
    ):
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": []}
        assert [route for route in static_routes() if route.matches(scope)[0] is Match.FULL] == []
