"""Refusals of requests: the one place that maps errors to HTTP statuses."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from miniclaw import errors
from miniclaw.errors import MiniclawError
from miniclaw.formats import encodable
from miniclaw.web.problems import problem


class RequestRefusedError(MiniclawError):
    """An invalid request: a parameter, a header or a member of the body; without `field`, the request as a whole."""

    def __init__(self, status: int, detail: str, *, field: str = "") -> None:
        self.status = status
        self.field = field
        super().__init__(f"{field}: {detail}" if field else detail)


# The first match counts: subclasses before their parents.
_STATUSES: Final[tuple[tuple[type[MiniclawError], int], ...]] = (
    (errors.InvalidSessionIdError, 400),
    (errors.SessionNotFoundError, 404),
    (errors.TrashEntryNotFoundError, 404),
    (errors.QuarantinedFileNotFoundError, 404),
    (errors.AmbiguousQuarantineIdError, 409),
    (errors.SessionExistsError, 409),
    (errors.SessionInUseError, 409),
    (errors.SessionKeptError, 409),
    (errors.CorruptSessionError, 409),
    (errors.MismatchedSessionError, 409),
    (errors.SessionTooLargeError, 409),
    (errors.CorruptTrashError, 409),
    (errors.StoreError, 503),  # the disk, or a runtime that has ended
)


def refusal(error: MiniclawError) -> Response:
    """Return the answer to a request that ended with an error."""
    if isinstance(error, RequestRefusedError):
        members: dict[str, Any] = {"field": encodable(error.field)} if error.field else {}
        return problem(error.status, str(error), **members)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    return problem(status, str(error), error=type(error).__name__)
