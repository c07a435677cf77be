"""The rule of the product on each kind of machine, beside the rule as it was first specified, on the same scenarios.

With `MINICLAW_SOAK` set, a thousand scenarios of each kind are tried, else 25.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from miniclaw.session.retention import timeline
from tests.notice.outcome import Found, try_kind
from tests.notice.product import ProductRule
from tests.notice.scenarios import DAY, KINDS, draw
from tests.notice.trial import Trial

SCENARIOS: Final = 1000 if "MINICLAW_SOAK" in os.environ else 25
SEED: Final = 1
BLIND: Final = {"chaos_with_lost_state"}
"""Kinds in which the state is lost while stamps are wrong: only the notice protects."""

MORE_DAYS: Final = 1.0
"""How much later than by the rule as it was specified a session may go."""

MOST_DAYS: Final = {"jump_behind": 30.0, "flapping": 30.0}
"""How long after its expiry a session goes at the latest, in days of power, of kinds where stamps are ambiguous.

Of a hundred scenarios: a stamp that each of several wrong clocks shows again lives longer, however seldom.
"""


@pytest.mark.parametrize("kind", KINDS)
def test_rule_on_each_kind_of_machine_deletes_nothing_in_use_and_what_is_expired_in_time(kind: str) -> None:
    ours, reference = try_kind(kind, SCENARIOS, SEED)
    assert ours.unannounced == 0
    assert ours.misstamped == 0
    assert kind in BLIND or (ours.early, ours.slight) == (0, 0)
    assert ours.removed >= 0.95 * (reference.removed - reference.early) > 0
    assert ours.p95 <= reference.p95 + MORE_DAYS
    assert ours.most <= reference.most + MORE_DAYS
    assert SCENARIOS > 100 or ours.most <= MOST_DAYS.get(kind, float("inf"))


@pytest.mark.parametrize("kind", ["ahead_until_reboot", "flapping", "jump_behind", "no_rtc"])
def test_rule_that_may_keep_few_frames_deletes_nothing_in_use(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is merged is read as younger, never as older."""
    monkeypatch.setattr(timeline, "MAX_FRAMES", 4)
    found = Found.of([Trial(draw(kind, SEED, number), ProductRule) for number in range(25)])
    assert (found.early, found.slight, found.unannounced) == (0, 0, 0)
    assert found.removed > 0


class Eager(ProductRule):
    """Deletes what it finds, and trusts the wall clock alone."""

    def poll(self, trial: Trial) -> None:
        for session, file in list(trial.files.items()):
            if trial.machine.wall - file.stamp > 30 * DAY:
                trial.remove(session)


def test_trial_of_a_rule_that_trusts_the_wall_clock_finds_early_and_unannounced_removals() -> None:
    found = Found.of([Trial(draw("jump_ahead_short", SEED, number), Eager) for number in range(5)])
    assert found.early > 0
    assert found.unannounced > 0


class Deaf(ProductRule):
    """Deletes nothing."""

    def poll(self, trial: Trial) -> None:
        self._observe(trial)


def test_trial_of_a_rule_that_deletes_nothing_finds_sessions_that_are_stuck() -> None:
    assert Found.of([Trial(draw("steady", SEED, number), Deaf) for number in range(5)]).stuck > 0


class Maximal(ProductRule):
    """Stamps a use with a time that never goes backwards."""

    def use(self, trial: Trial, session: str) -> None:
        before = trial.files[session].stamp
        super().use(trial, session)
        trial.files[session].stamp = max(before, trial.files[session].stamp)


def test_trial_of_a_rule_that_never_stamps_backwards_finds_wrong_stamps() -> None:
    found = Found.of([Trial(draw("jump_far_ahead", SEED, number), Maximal) for number in range(20)])
    assert found.misstamped > 0


def test_scenario_is_the_same_each_time_and_another_for_another_number() -> None:
    one, again, other = draw("chaos", 3, 4), draw("chaos", 3, 4), draw("chaos", 3, 5)
    assert one.events == again.events != other.events
