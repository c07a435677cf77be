"""What becomes of many scenarios of one kind, by the product's rule and by the reference."""

from __future__ import annotations

from typing import NamedTuple

from tests.notice.product import ProductRule
from tests.notice.reference import ReferenceRule
from tests.notice.scenarios import draw
from tests.notice.trial import Trial, percentile


class Found(NamedTuple):
    """What became of all scenarios of a kind."""

    removed: int
    early: int
    slight: int
    unannounced: int
    misstamped: int
    p95: float
    most: float
    stuck: int

    @classmethod
    def of(cls, trials: list[Trial]) -> Found:
        late = [days for trial in trials for days in trial.late]
        return cls(
            sum(trial.removed for trial in trials),
            sum(len(trial.early) for trial in trials),
            sum(trial.slight for trial in trials),
            sum(trial.unannounced for trial in trials),
            sum(trial.misstamped for trial in trials),
            percentile(late, 0.95),
            max(late, default=0.0),
            sum(days > 10 for trial in trials for days in trial.stuck),
        )


def try_kind(kind: str, scenarios: int, seed: int) -> tuple[Found, Found]:
    """Return what becomes of scenarios of a kind by the product's rule, and by the reference."""
    ours, reference = [], []
    for number in range(scenarios):
        scenario = draw(kind, seed, number)
        ours.append(Trial(scenario, ProductRule))
        reference.append(Trial(scenario, ReferenceRule))
    return Found.of(ours), Found.of(reference)
