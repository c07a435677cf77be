"""Leases, and the claim on the sweep, of the stores of one process: they end with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from miniclaw.errors import LeaseLostError, SessionBusyError
from miniclaw.stores.types import Lease

LATEST: Final = datetime.max.replace(tzinfo=UTC)


def later(now: datetime, duration: timedelta) -> datetime:
    """Return the time after a duration, or the latest that there is."""
    return now + duration if duration < LATEST - now else LATEST


class Held(Struct, frozen=True):
    """A lease, or the claim on the sweep, with its holder and its end."""

    token: int
    owner: str
    until: datetime


class LeaseTable:
    """The leases in force. Changed on the trio thread; each method is one synchronous step.

    Args:
        now: The clock.
        next_token: Returns a number that is larger than every earlier one.
    """

    def __init__(self, now: Callable[[], datetime], next_token: Callable[[], int]) -> None:
        self._now = now
        self._next_token = next_token
        self._held: dict[str, Held] = {}

    def is_leased(self, session_id: str) -> bool:
        """Return whether a lease on a session is in force."""
        held = self._held.get(session_id)
        return held is not None and self._now() < held.until

    def take(self, session_id: str, owner: str, duration: timedelta) -> int:
        """Give out a lease and return its token; raise as `SessionStore.acquire`."""
        held, now = self._held.get(session_id), self._now()
        if held is not None and now < held.until and held.owner != owner:
            raise SessionBusyError(session_id, held.owner, held.until - now)
        token = self._next_token()
        self._held[session_id] = Held(token, owner, later(now, duration))
        if len(self._held) > 1000 and token % 1000 == 0:  # leases that ended, and were never released
            self._held = {name: each for name, each in self._held.items() if now < each.until}
        return token

    def check(self, lease: Lease) -> None:
        """Raise `LeaseLostError` unless this lease is in force."""
        if not self._holds(lease):
            raise LeaseLostError(lease.session_id)

    def renew(self, leases: Sequence[Lease], duration: timedelta) -> AbstractSet[str]:
        """Let leases last, and return the ids of those that are lost, as `SessionStore.renew`."""
        lost = {lease.session_id for lease in leases if not self._holds(lease)}
        for lease in leases:
            if lease.session_id not in lost:
                held = self._held[lease.session_id]
                self._held[lease.session_id] = Held(lease.token, held.owner, later(self._now(), duration))
        return lost

    def release(self, lease: Lease) -> None:
        """End a lease, if it is in force."""
        if self._holds(lease):
            del self._held[lease.session_id]

    def _holds(self, lease: Lease) -> bool:
        held = self._held.get(lease.session_id)
        return held is not None and held.token == lease.token and self._now() < held.until
