"""A client of the API for tests, that says nothing but what it is told to."""

from __future__ import annotations

from typing import Any

import httpx2

from miniclaw.admin.client.messages import API_VERSION, PREFIX, VERSION_HEADER


class Answer:
    """What came back."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.body = response.content

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body!r}>"

    @property
    def json(self) -> Any:
        """The body, decoded; of an answer that is none of a refusal."""
        assert self.status == 200, self
        assert self.headers["content-type"] == "application/json"
        assert self.headers[VERSION_HEADER] == str(API_VERSION)
        return httpx2.Response(200, content=self.body).json()

    def refused(self, status: int) -> dict[str, Any]:
        """Return the problem, of a refusal with this status."""
        assert self.status == status, self
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = httpx2.Response(200, content=self.body).json()
        assert problem["status"] == status
        assert problem["detail"]
        assert "Traceback" not in problem["detail"]
        return problem


class Api:
    """Asks over one client, below the prefix."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Ask; the path is sent as it is."""
        return Answer(await self.client.request(method, f"{PREFIX}{path}", **options))

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.ask("GET", path, params=query or None)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.ask("POST", path, **({} if body is None else {"json": body}))
