"""Counts of the agent's turns and model errors since its start. Changed on the trio thread only.

The labels are closed sets, so that no input from outside can make them grow: the channels are those that the loop
serves, and errors are counted by `miniclaw.errors.ModelErrorKind`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias, get_args

import trio

from miniclaw.errors import ModelErrorKind
from miniclaw.histogram import Histogram

TurnOutcome: TypeAlias = Literal["answered", "failed", "interrupted"]
"""How a turn ended.

``answered``: with a whole answer. ``failed``: with the reason, as a message to the person. ``interrupted``: the program
was stopped.
"""

TURN_OUTCOMES: Final[tuple[TurnOutcome, ...]] = get_args(TurnOutcome)
MODEL_ERROR_KINDS: Final[tuple[ModelErrorKind, ...]] = get_args(ModelErrorKind)

OTHER: Final = "other"
"""Label of a channel that the loop does not serve, and of an unknown kind of error."""

LATENCY_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Upper bounds of the latency buckets, inclusive: from an echo to a large model on a small machine."""


class TurnStats:
    """Counts of turns and model errors, and latencies.

    Args:
        channels: The names of the channels that the loop serves.

    Attributes:
        turns: Ended turns, by channel and outcome.
        in_flight: Turns in progress.
        duration: Seconds from the beginning of a turn to the end of its answer; answered turns only.
        first_token: Seconds from the beginning of a turn to the first piece of the answer.
        last_duration_seconds: Duration of the last answered turn; None before the first.
        model_errors: Errors of the model, by kind.
    """

    def __init__(self, channels: Iterable[str] = ()) -> None:
        self.turns: dict[tuple[str, TurnOutcome], int] = {
            (channel, outcome): 0 for channel in channels for outcome in TURN_OUTCOMES
        }
        self.in_flight: int = 0
        self.duration: Histogram = Histogram(LATENCY_SECONDS)
        self.first_token: Histogram = Histogram(LATENCY_SECONDS)
        self.last_duration_seconds: float | None = None
        self.model_errors: dict[str, int] = dict.fromkeys(MODEL_ERROR_KINDS, 0)

    @contextmanager
    def turn(self, channel: str) -> Iterator[TurnCount]:
        """Count a turn for the length of a block, which sets its outcome."""
        turn = TurnCount(self)
        self.in_flight += 1
        try:
            yield turn
        finally:
            self.in_flight -= 1
            if turn.outcome is not None:
                key = (channel if (channel, turn.outcome) in self.turns else OTHER, turn.outcome)
                self.turns[key] = self.turns.get(key, 0) + 1
            if turn.outcome == "answered":
                self.last_duration_seconds = trio.current_time() - turn.began
                self.duration.observe(self.last_duration_seconds)

    def model_failed(self, kind: str) -> None:
        """Count an error of the model."""
        self.model_errors[kind if kind in MODEL_ERROR_KINDS else OTHER] += 1

    def total(self, outcome: TurnOutcome) -> int:
        """Return the number of turns with an outcome, over all channels."""
        return sum(count for (_, ended), count in self.turns.items() if ended == outcome)


class TurnCount:
    """The count of one turn in progress.

    Attributes:
        outcome: The outcome so far; None: the turn does not count, since the message had been answered before.
    """

    def __init__(self, stats: TurnStats) -> None:
        self._stats = stats
        self._has_piece = False
        self.began: float = trio.current_time()
        self.outcome: TurnOutcome | None = "interrupted"

    def piece_came(self) -> None:
        """Note that a piece of the answer has come. Only the first one is observed."""
        if not self._has_piece:
            self._has_piece = True
            self._stats.first_token.observe(trio.current_time() - self.began)
