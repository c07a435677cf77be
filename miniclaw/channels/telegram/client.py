"""Calls of the Bot API's methods, and the errors of such calls.

The token is a part of every address, but of no text that leaves this module. The texts of foreign errors and of servers
are redacted, and httpx2's own loggers are kept quiet (see `miniclaw.http_client`).

Importing this module needs httpx2, the extra ``telegram``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import httpx2
import msgspec
import trio
from msgspec import Raw

from miniclaw.backoff import parse_retry_after
from miniclaw.channels.telegram.wire import Answer, decode_as
from miniclaw.clock import Now, utc_now
from miniclaw.errors import ChannelError
from miniclaw.http_client import UNREACHABLE, describe, open_post, read_some, shorten
from miniclaw.secret import Secret

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Largest answer, inclusive. A hundred messages of 4,096 characters take some 2 MB."""

CALL_SECONDS: Final = 20
"""Time limit of a call, apart from the time that Telegram is asked to wait."""

CONNECT_SECONDS: Final = 10

_MAX_RETRY_AFTER_SECONDS: Final = 3600.0

Trouble: TypeAlias = Literal[
    "network", "server", "busy", "conflict", "webhook", "token", "forbidden", "refused", "answer"
]
"""The cause of a failed call.

``network``: no connection, or no whole answer in time. ``server``: 5xx. ``busy``: 429. ``conflict``: 409, another
program polls. ``webhook``: 409, the bot has a webhook. ``token``: 401 or 404. ``forbidden``: 403. ``refused``: any
other 4xx, or a malformed address. ``answer``: an answer that is not of the Bot API's form.
"""


class BotError(ChannelError):
    """A call that failed.

    Attributes:
        trouble: The cause.
        retry_after: Seconds that Telegram asks to wait; None: it does not ask.
        moved_to: The chat's new id; None: the chat has not moved.
        accepted: True if Telegram had reported success before the rest of its answer was lost.
    """

    def __init__(
        self,
        trouble: Trouble,
        reason: str,
        *,
        retry_after: float | None = None,
        moved_to: int | None = None,
        accepted: bool = False,
    ) -> None:
        self.trouble = trouble
        self.retry_after = retry_after
        self.moved_to = moved_to
        self.accepted = accepted
        super().__init__(reason)


class BotClient:
    """Calls methods of the Bot API.

    Args:
        http: The HTTP client; the caller closes it.
        api_base: The address of the Bot API.
        token: The bot's token.
        clock: The wall clock.
    """

    def __init__(self, http: httpx2.AsyncClient, api_base: str, token: Secret, *, clock: Now = utc_now) -> None:
        self._http = http
        self._api_base = api_base
        self._token = token
        self._clock = clock

    async def call(self, method: str, values: Mapping[str, Any], *, within_seconds: float = CALL_SECONDS) -> Raw:
        """Call a method with these parameters, within a time limit for the whole answer, and return its result.

        Raises:
            BotError: The call failed.
        """
        url = f"{self._api_base}/bot{self._token.reveal()}/{method}"
        status: int | None = None
        try:
            with trio.fail_after(within_seconds):
                async with open_post(self._http, url, msgspec.json.encode(values), {}) as (response, chunks):
                    status = response.status_code
                    data, complete = await read_some(chunks, MAX_ANSWER_BYTES)
        except trio.TooSlowError:
            raise BotError("network", f"Telegram did not answer within {within_seconds:g} s") from None
        except UNREACHABLE as error:  # its text and its request hold the address
            raise BotError("network", f"Telegram cannot be reached ({describe(error)})") from None
        except httpx2.HTTPError as error:  # likewise
            broke = f"the connection to Telegram broke off ({describe(error)})"
            raise BotError("network", broke, accepted=status == 200) from None
        except httpx2.InvalidURL:
            raise BotError("refused", "the address of the Bot API is no address") from None
        retry_after = parse_retry_after(response.headers.get("retry-after"), self._clock())
        answer = decode_as(Answer, data) if complete else None
        return _result(status, answer, data, retry_after)


def _result(status: int, answer: Answer | None, data: bytes, retry_after: float | None) -> Raw:
    """Return the result of an answer.

    Raises:
        BotError: The answer has no result.
    """
    if answer is not None and answer.ok and status == 200:
        return answer.result
    code, said, moved_to = status, shorten(data[:1000].decode(errors="replace")), None
    if answer is not None:
        code = answer.error_code or status
        said = shorten(answer.description)
        moved_to = answer.parameters.migrate_to_chat_id
        retry_after = retry_after if answer.parameters.retry_after is None else answer.parameters.retry_after
    elif status == 200:
        raise BotError("answer", f"what came is no answer of the Bot API: {said[:100]!r}", accepted=True)
    if retry_after is not None:
        retry_after = min(max(0.0, retry_after), _MAX_RETRY_AFTER_SECONDS)
    trouble = _trouble(code, said)
    raise BotError(trouble, f"Telegram answered {code}: {said[:300]}", retry_after=retry_after, moved_to=moved_to)


def _trouble(code: int, said: str) -> Trouble:
    if code == 409:
        return "webhook" if "webhook" in said.lower() else "conflict"
    known: dict[int, Trouble] = {401: "token", 403: "forbidden", 404: "token", 429: "busy"}
    families: dict[int, Trouble] = {4: "refused", 5: "server"}
    return known.get(code) or families.get(code // 100, "answer")
