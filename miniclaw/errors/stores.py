"""The errors between a session runtime and a store that several programs may share."""

from __future__ import annotations

from datetime import timedelta

from miniclaw.errors.sessions import StoreError


class StoreUnavailableError(StoreError):
    """A store that did not answer: whether the change happened is not known. Repeat it with the same `op`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the session store did not answer: {reason}; the change may or may not have been made")


class SessionBusyError(StoreError):
    """A session on which another program, `owner`, holds a lease, for at most the time `remaining`."""

    def __init__(self, session_id: str, owner: str, remaining: timedelta) -> None:
        self.session_id = session_id
        self.owner = owner
        self.remaining = remaining
        super().__init__(
            f"the session {session_id!r} is in use by {owner}, for up to {remaining.total_seconds():.3g} s; "
            "try again then"
        )


class LeaseLostError(StoreError):
    """A change under a lease that has ended or was replaced; nothing was changed. Acquire the lease again."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"the lease on the session {session_id!r} is lost; nothing was changed")


class RevisionConflictError(StoreError):
    """A change of a session that another program has changed or removed meanwhile; nothing was changed.

    The runtime has the session's present state when it raises this: look at it and decide again.
    """

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(
            f"another program has changed the session {session_id!r} meanwhile; nothing was changed. "
            "Look at its present state, and repeat the call if it is still wanted"
        )
