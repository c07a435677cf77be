"""Leases, and the claim on the sweep, of a store that keeps them in memory: they end with its process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from miniclaw.errors import LeaseLostError, SessionBusyError
from miniclaw.stores.types import Lease, Turn

LATEST: Final = datetime.max.replace(tzinfo=UTC)

_ZERO: Final = timedelta(0)


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

    Attributes:
        held: Session id -> its newest lease, which may have ended.
    """

    def __init__(self, now: Callable[[], datetime], next_token: Callable[[], int]) -> None:
        self._now = now
        self._next_token = next_token
        self.held: dict[str, Held] = {}

    def is_leased(self, session_id: str) -> bool:
        """Return whether a lease on a session is in force."""
        held = self.held.get(session_id)
        return held is not None and self._now() < held.until

    def take(self, session_id: str, owner: str, duration: timedelta) -> int:
        """Give out a lease and return its token; raise as `SessionStore.acquire`."""
        held, now = self.held.get(session_id), self._now()
        if held is not None and now < held.until and held.owner != owner:
            raise SessionBusyError(session_id, held.owner, held.until - now)
        token = self._next_token()
        self.held[session_id] = Held(token, owner, later(now, duration))
        if len(self.held) > 1000 and token % 1000 == 0:  # leases that ended, and were never released
            self.held = {name: each for name, each in self.held.items() if now < each.until}
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
                held = self.held[lease.session_id]
                self.held[lease.session_id] = Held(lease.token, held.owner, later(self._now(), duration))
        return lost

    def release(self, lease: Lease) -> None:
        """End a lease, if it is in force."""
        if self._holds(lease):
            del self.held[lease.session_id]

    def _holds(self, lease: Lease) -> bool:
        held = self.held.get(lease.session_id)
        return held is not None and held.token == lease.token and self._now() < held.until


class SweepClaim:
    """The claim on the sweep. Changed on the trio thread; each method is one synchronous step.

    Args:
        now: The clock.
        next_token: Returns a number that is larger than every earlier one.
    """

    def __init__(self, now: Callable[[], datetime], next_token: Callable[[], int]) -> None:
        self._now = now
        self._next_token = next_token
        self._claim: tuple[Held, datetime] | None = None  # with the time at which it was made

    def begin(self, owner: str, interval: timedelta, claim: timedelta, swept: tuple[datetime, bytes] | None) -> Turn:
        """Claim the sweep, as `SessionStore.begin_sweep`.

        Args:
            owner: The program.
            interval: As there.
            claim: As there.
            swept: The beginning of the last completed sweep, and its note; None: none is known.
        """
        now, (began, note) = self._now(), swept or (None, b"")
        held = _ZERO if self._claim is None else self._claim[0].until - now
        due_in = _ZERO if began is None else interval - (now - began)
        wait = max(held, due_in)
        if wait > _ZERO:
            return Turn(0, now, wait, began, note)
        token = self._next_token()
        self._claim = Held(token, owner, later(now, claim)), now
        return Turn(token, now, _ZERO, began, note)

    def began(self, token: int) -> datetime | None:
        """Return when a claim was made; None: it is not in force any more."""
        if self._claim is None or self._claim[0].token != token or self._now() >= self._claim[0].until:
            return None
        return self._claim[1]

    def clear(self) -> None:
        """End the claim, whosever it is."""
        self._claim = None
