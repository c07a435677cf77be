"""Moments at which something is judged, for tests of the rules."""

from __future__ import annotations

from datetime import datetime, timedelta

from miniclaw.session.retention.notice import Notice, Rules
from miniclaw.session.retention.policy import DAILY, RetentionPolicy
from miniclaw.session.retention.timeline import Ages


def ages_at(now: datetime) -> Ages:
    """Return ages by the wall clock alone."""
    return Ages.by_wall_clock(now)


def at_once(now: datetime, policy: RetentionPolicy | None = None, *, interval: timedelta = DAILY) -> Notice:
    """Return the notice of a run that waits for none, at a time by the wall clock alone."""
    return Notice(ages_at(now), rules_of(policy or RetentionPolicy(), interval), waits=False)


def rules_of(policy: RetentionPolicy, interval: timedelta = DAILY) -> Rules:
    """Return what of a policy decides whether something is due."""
    return Rules(interval, policy.ttl, dict(policy.ttl_by_channel), policy.quarantine_for, policy.max_sessions)
