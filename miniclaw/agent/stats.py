"""What the agent has done since its start, counted where it happens. Changed on the trio thread only.

The labels are closed sets, so that nothing that comes from outside can make them grow: the channels are those that the
loop serves, and errors are counted by `miniclaw.errors.ModelErrorKind`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias, get_args

import trio

from miniclaw.channels.base import OutboundMessage
from miniclaw.errors import ModelErrorKind
from miniclaw.histogram import Histogram

TurnOutcome: TypeAlias = Literal["answered", "failed", "interrupted"]
"""How a turn ended.

``answered``: with a whole answer. ``failed``: the person was told why not. ``interrupted``: the program was stopped.
"""

TURN_OUTCOMES: Final[tuple[TurnOutcome, ...]] = get_args(TurnOutcome)
MODEL_ERROR_KINDS: Final[tuple[ModelErrorKind, ...]] = get_args(ModelErrorKind)

OTHER: Final = "other"
"""Counted so is a channel that the loop does not serve, and an error of a kind that there is not."""

LATENCY_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""The buckets of the latencies: from an echo to a large model on a small machine."""


class TurnStats:
    """What became of the turns.

    Attributes:
        turns: How many ended how, by channel and outcome.
        in_flight: How many are going on.
        duration: Seconds from the beginning of a turn to the end of its answer, of those that were answered.
        first_token: Seconds from the beginning of a turn to the first piece of the answer.
        last_duration_seconds: Of the last turn that was answered; None: none was.
        model_errors: How many, by kind.
    """

    def __init__(self, channels: Iterable[str] = ()) -> None:
        """Make empty counts.

        Args:
            channels: The names of the channels that are served.
        """
        self.turns: dict[tuple[str, TurnOutcome], int] = {
            (channel, outcome): 0 for channel in channels for outcome in TURN_OUTCOMES
        }
        self.in_flight = 0
        self.duration = Histogram(LATENCY_SECONDS)
        self.first_token = Histogram(LATENCY_SECONDS)
        self.last_duration_seconds: float | None = None
        self.model_errors: dict[str, int] = dict.fromkeys(MODEL_ERROR_KINDS, 0)

    @contextmanager
    def turn(self, channel: str) -> Iterator[TurnCount]:
        """Count a turn for the length of a block. One that ends without saying how was interrupted."""
        turn = TurnCount(self)
        self.in_flight += 1
        try:
            yield turn
        finally:
            self.in_flight -= 1
            self._count(channel, turn)

    def _count(self, channel: str, turn: TurnCount) -> None:
        if turn.outcome is None:
            return
        key = (channel if (channel, turn.outcome) in self.turns else OTHER, turn.outcome)
        self.turns[key] = self.turns.get(key, 0) + 1
        if turn.outcome == "answered":
            self.last_duration_seconds = trio.current_time() - turn.began
            self.duration.observe(self.last_duration_seconds)

    def model_failed(self, kind: str) -> None:
        """Count an error of the model."""
        self.model_errors[kind if kind in MODEL_ERROR_KINDS else OTHER] += 1

    def total(self, outcome: TurnOutcome) -> int:
        """Return how many turns ended so, of all channels."""
        return sum(count for (_, ended), count in self.turns.items() if ended == outcome)


class TurnCount:
    """A turn while it is counted."""

    def __init__(self, stats: TurnStats) -> None:
        self._stats = stats
        self._has_begun_to_answer = False
        self.began = trio.current_time()
        self.outcome: TurnOutcome | None = "interrupted"  # None: it does not count

    def ended(self, outbound: OutboundMessage | None) -> None:
        """Say with what it ended; None: there was nothing to say, because the message had been answered before."""
        if outbound is None:
            self.outcome = None
        else:
            self.outcome = "failed" if outbound.failed else "answered"

    def piece_came(self) -> None:
        """Say that a piece of the answer has come; the first one counts."""
        if not self._has_begun_to_answer:
            self._has_begun_to_answer = True
            self._stats.first_token.observe(trio.current_time() - self.began)
