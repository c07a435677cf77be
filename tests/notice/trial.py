"""One scenario under one rule, judged by the truth.

Oracles: nothing goes that was truly used within the TTL; nothing goes that was not announced a notice period of real time
before; what is truly expired goes, after how many days of power; and after 8 days of power under a right clock a use
stamps the right time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tests.notice.scenarios import DAY, Event, Scenario

NOTICE_HOURS: Final = 20.0
SETTLED_HOURS: Final = 8 * DAY
RIGHT_HOURS: Final = 5 / 60


@dataclass
class SessionFile:
    """What a rule sees of a session: its stamp, in hours by the wall clock, and by what its file is told from others."""

    stamp: float
    inode: int


class Machine:
    """What a rule can ask a machine, in hours."""

    def __init__(self) -> None:
        self.time = self.on = self.offset = self.slept = 0.0
        self.boot = 0
        self.synchronised = False

    @property
    def wall(self) -> float:
        return self.time + self.offset

    @property
    def boottime(self) -> float:
        return self.time - self.on


class Rule(Protocol):
    """What is tried. Each call may announce and remove."""

    def start(self, trial: Trial) -> None: ...

    def poll(self, trial: Trial) -> None: ...

    def use(self, trial: Trial, session: str) -> None: ...

    def lose_state(self) -> None: ...

    def set_ttl(self, ttl: float) -> None: ...


class Trial:
    """One scenario under one rule.

    Attributes:
        early: By how many days of true age sessions went too early; those that were off by a day at most are `slight`.
        unannounced: How many went without a notice period.
        late: How many days of power after they had expired the others went.
        stuck: For how many days of power those were expired that are there at the end.
        misstamped: Uses after 8 days under a right clock that have a wrong time.
    """

    def __init__(self, scenario: Scenario, make: Callable[[float], Rule]) -> None:
        self.machine = Machine()
        self.files: dict[str, SessionFile] = {}
        self.early: list[float] = []
        self.slight = self.unannounced = self.misstamped = 0
        self.late: list[float] = []
        self._used: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._expired_at: dict[str, float] = {}  # on the clock of power
        self._ttl = scenario.ttl
        self._inodes = 0
        self._power = self._right_for = self._accounted = 0.0
        self._powered: float | None = None  # since when it is not counted yet
        for session, at in scenario.first.items():
            self._put(session, at, at)
        self._rule = make(scenario.ttl)
        self._running = False
        for event in scenario.events:
            self._happen(event)
        self._account()
        self.stuck = [(self._power - since) / DAY for since in self._expired_at.values()]

    @property
    def removed(self) -> int:
        """How many sessions went."""
        return len(self.early) + self.slight + len(self.late)

    def _happen(self, event: Event) -> None:
        self.machine.time = event.at
        if event.what in {"boot", "off", "step"} or event.at - self._accounted > 12:
            self._account()
        if event.what in {"boot", "off", "stop", "step"}:
            self._happen_to_machine(event)
        elif event.what in {"start", "lose", "restore", "tighten"}:
            self._happen_to_program(event)
        elif event.what == "use" and self._running:
            self._use(event.session)
        elif event.what == "poll" and self._running:
            self._rule.poll(self)

    def _happen_to_machine(self, event: Event) -> None:
        machine = self.machine
        match event.what:
            case "boot":
                machine.on, machine.boot, machine.offset = event.at, machine.boot + 1, event.offset
                machine.synchronised = False
                self._powered = event.at
            case "off":
                self._powered, self._running = None, False
            case "stop":
                self._running = False
            case _:
                machine.offset = machine.offset if event.step.offset is None else event.step.offset
                machine.synchronised = event.step.synchronised

    def _happen_to_program(self, event: Event) -> None:
        match event.what:
            case "start":
                self._running = True
                self._rule.start(self)
            case "lose":
                self._rule.lose_state()
                if self._running:
                    self._rule.start(self)
            case "tighten":
                self._ttl = event.ttl
                self._rule.set_ttl(event.ttl)
            case _:
                for session, age in event.ages.items():
                    if session not in self.files:
                        self._put(session, event.at - age, event.at - age)

    def _use(self, session: str) -> None:
        if session not in self.files:
            self._put(session, self.machine.wall, self.machine.time)
        self._used[session] = self.machine.time
        self._told.pop(session, None)
        self._expired_at.pop(session, None)
        self._rule.use(self, session)
        self._pass()
        if self._right_for > SETTLED_HOURS and abs(self.files[session].stamp - self.machine.time) > RIGHT_HOURS:
            self.misstamped += 1

    def _put(self, session: str, stamp: float, used: float) -> None:
        self._inodes += 1
        self.files[session], self._used[session] = SessionFile(stamp, self._inodes), used
        self._told.pop(session, None)

    def _account(self) -> None:
        """Count the time with power, and take note of what has truly expired meanwhile."""
        self._pass()
        now = self._accounted = self.machine.time
        for session, used in self._used.items():
            if session in self.files and now - used > self._ttl and session not in self._expired_at:
                self._expired_at[session] = self._power

    def _pass(self) -> None:
        now = self.machine.time
        if self._powered is not None:
            self._power += now - self._powered
            self._right_for = self._right_for + now - self._powered if not self.machine.offset else 0.0
            self._powered = now

    def announce(self, session: str) -> None:
        """Take note that a session was announced; before that it does not count."""
        self._told.setdefault(session, self.machine.time)

    def remove(self, session: str) -> None:
        """Remove a session, and judge that."""
        now = self.machine.time
        age = now - self._used[session]
        if age < self._ttl - DAY:
            self.early.append(age / DAY)
        elif age < self._ttl - 0.1:
            self.slight += 1
        else:
            self._account()
            self.late.append((self._power - self._expired_at.get(session, self._power)) / DAY)
        self.unannounced += now - self._told.get(session, now) < NOTICE_HOURS - 0.1
        del self.files[session]
        self._expired_at.pop(session, None)
        self._told.pop(session, None)


def percentile(values: list[float], part: float) -> float:
    """Return the value below which so large a part of them lies; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0
