"""Checks of leases."""

from __future__ import annotations

from miniclaw.errors import LeaseLostError, SessionBusyError
from miniclaw.testing.store_checks.trial import FOREVER, Trial, holds, refused, same


async def lease_excludes_other_owners(trial: Trial) -> None:
    """While a lease is in force, another owner gets SessionBusyError with the holder's name and the rest of time."""
    await trial.store.acquire("web_a", FOREVER)
    with refused(SessionBusyError, "acquire of a session that another owner has") as raised:
        await trial.other.acquire("web_a", FOREVER)
    error = raised[0]
    assert isinstance(error, SessionBusyError)  # noqa: S101 - for mypy
    same("SessionBusyError.owner", error.owner, trial.store.owner)
    same("SessionBusyError.session_id", error.session_id, "web_a")
    holds("SessionBusyError.remaining is between zero and the duration", 0 < error.remaining / FOREVER <= 1)
    await trial.other.acquire("web_b", FOREVER)


async def lease_that_ended_is_free(trial: Trial) -> None:
    """After its duration, a lease is another owner's to take, with a larger token; the earlier one changes nothing."""
    first = await trial.store.acquire("web_a", trial.unit)
    await trial.wait(2)
    second = await trial.other.acquire("web_a", FOREVER)
    holds(f"a later token is larger: {second.token} after {first.token}", second.token > first.token)
    with refused(LeaseLostError, "commit under a lease that has ended"):
        await trial.write(first, "late")
    same("the session after a refused commit", await trial.messages("web_a"), None)
    await trial.write(second, "first", store=trial.other)
    await trial.has("web_a", "first")


async def lease_that_ended_is_refused_also_on_a_free_session(trial: Trial) -> None:
    """A commit under a lease whose time is over raises LeaseLostError, also if the session is free."""
    lease = await trial.store.acquire("web_a", trial.unit)
    await trial.wait(2)
    with refused(LeaseLostError, "commit under a lease that has ended"):
        await trial.write(lease, "late")
    same("the session after a refused commit", await trial.messages("web_a"), None)


async def own_lease_is_replaced(trial: Trial) -> None:
    """An owner that acquires again gets a new token at once, and the earlier lease is refused from then on."""
    first = await trial.store.acquire("web_a", FOREVER)
    second = await trial.store.acquire("web_a", FOREVER)
    holds("the second token is larger", second.token > first.token)
    with refused(LeaseLostError, "commit under a lease that was replaced"):
        await trial.write(first, "stale")
    await trial.write(second, "new")
    await trial.has("web_a", "new")


async def renewed_lease_lasts(trial: Trial) -> None:
    """A renewed lease is in force for the new duration from then on, and is not among the lost ones."""
    first = await trial.store.acquire("web_a", trial.unit * 100)
    same("the lost leases", set(await trial.store.renew([first], FOREVER)), set())
    await trial.wait(200 if trial.exact else 1)
    with refused(SessionBusyError, "acquire of a session whose lease was renewed"):
        await trial.other.acquire("web_a", FOREVER)
    await trial.write(first, "still mine")
    await trial.has("web_a", "still mine")


async def lost_lease_is_reported_and_not_revived(trial: Trial) -> None:
    """Renewal names the leases that are over or replaced, revives none of them, and renews the others."""
    ended = await trial.store.acquire("web_ended", trial.unit)
    taken = await trial.store.acquire("web_taken", trial.unit)
    await trial.wait(2)
    good = await trial.store.acquire("web_good", FOREVER)
    await trial.other.acquire("web_taken", FOREVER)
    lost = await trial.store.renew([ended, good, taken], FOREVER)
    same("the lost leases", set(lost), {"web_ended", "web_taken"})
    with refused(LeaseLostError, "commit under a lease that was reported as lost"):
        await trial.write(ended, "late")
    await trial.other.acquire("web_ended", FOREVER)
    await trial.write(good, "mine")


async def released_lease_is_free_at_once(trial: Trial) -> None:
    """After a release another owner acquires at once, and the released lease is refused."""
    first = await trial.store.acquire("web_a", FOREVER)
    await trial.store.release(first)
    second = await trial.other.acquire("web_a", FOREVER)
    holds("the token after a release is larger", second.token > first.token)
    with refused(LeaseLostError, "commit under a released lease"):
        await trial.write(first, "late")


async def release_of_a_lost_lease_does_nothing(trial: Trial) -> None:
    """The release of a lease that was replaced does not free the session."""
    first = await trial.store.acquire("web_a", trial.unit)
    await trial.wait(2)
    second = await trial.other.acquire("web_a", FOREVER)
    await trial.store.release(first)
    await trial.write(second, "mine", store=trial.other)
    with refused(SessionBusyError, "acquire of a session that another owner has"):
        await trial.store.acquire("web_a", FOREVER)


async def tokens_grow_for_ever(trial: Trial) -> None:
    """No token is given out twice for a session: not after a release, a removal or a recreation."""
    tokens = []
    for _ in range(3):
        lease = await trial.store.acquire("web_a", FOREVER)
        tokens.append(lease.token)
        saved = await trial.write(lease, "x")
        await trial.store.remove(saved.lease, trash_for=None, reason="deleted", by="check", op=trial.op())
        await trial.store.release(lease)
        lease = await trial.other.acquire("web_a", FOREVER)
        tokens.append(lease.token)
        await trial.other.release(lease)
    same("the tokens", tokens, sorted(set(tokens)))
