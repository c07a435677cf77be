"""Machines whose clocks are wrong, and people who use them: lists of events on the true time line.

Every time is in hours. The wall clock is the true time plus an offset. What the scenarios are drawn from is their name, a
seed and a number: the same ones each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, NamedTuple, TypeAlias

DAY: Final = 24.0
YEAR: Final = 365 * DAY
TTL: Final = 30 * DAY
POLL_HOURS: Final = 4.0
"""The program looks at the clock so often here; really each 30 seconds."""

Range: TypeAlias = tuple[float, float]

What: TypeAlias = Literal[
    "boot", "resume", "start", "step", "poll", "suspend", "stop", "use", "lose", "restore", "tighten", "off"
]
_ORDER: Final[Sequence[What]] = (
    "boot", "resume", "start", "step", "poll", "suspend", "stop", "use", "lose", "restore", "tighten", "off",
)  # fmt: skip


class Step(NamedTuple):
    """The wall clock is set: to this offset, if not None; and whether a time server vouches for it then."""

    offset: float | None
    synchronised: bool


class Event(NamedTuple):
    """Something that happens.

    Attributes:
        at: When.
        what: What.
        offset: Of the wall clock, at a boot.
        step: Where the clock is set.
        session: Who is used.
        ages: How long ago the sessions that are restored were used, by their ids.
        ttl: The TTL from here on.
    """

    at: float
    what: What
    offset: float = 0.0
    step: Step = Step(None, False)
    session: str = ""
    ages: Mapping[str, float] = {}
    ttl: float = 0.0


@dataclass
class Boot:
    """One run of a machine."""

    on: float
    off: float
    offset: float = 0.0
    steps: list[tuple[float, Step]] = field(default_factory=list)
    suspends: list[Range] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)

    def pauses(self, random: Random) -> list[tuple[float, float, What, What]]:
        """Return when the program does not run, what it begins with, and what it ends with."""
        asleep: list[tuple[float, float, What, What]] = [(a, b, "suspend", "resume") for a, b in self.suspends]
        return sorted(asleep + [(at, at + random.uniform(0.01, 0.2), "stop", "start") for at in self.restarts])


class Scenario:
    """One machine, its people, and what else happens to it.

    Attributes:
        ttl: The TTL at the beginning.
        first: When the sessions were last used that are there at the beginning.
        events: In their order.
        end: When it ends.
    """

    def __init__(
        self, random: Random, boots: list[Boot], *, ttl: float = TTL, extra: Iterable[Event] = (), old: int = 0
    ) -> None:
        self.ttl = ttl
        self.end = boots[-1].off
        events, awake = list(extra), list[Range]()
        for boot in boots:
            _add_boot(events, awake, boot, random)
        for begin, end in awake:
            polls = [begin + 0.001, begin + 0.3]
            while polls[-1] + POLL_HOURS < end:
                polls.append(polls[-1] + POLL_HOURS)
            # It looks a last time when it ends; after a crash 30 seconds are missing.
            events += [Event(at, "poll") for at in [*polls, end - 0.001] if at < end]
        self.first = {f"old{number}": random.uniform(-400 * DAY, -1 * DAY) for number in range(old)}
        for number in range(30):
            self.first[f"s{number}"] = random.uniform(-25 * DAY, 0)
            events += _uses(f"s{number}", awake, self.end, random)
        self.events = sorted((each for each in events if each.at <= self.end), key=_order)

    def with_more(self, extra: Iterable[Event]) -> Scenario:
        """Let more happen, and return this scenario."""
        self.events = sorted([*self.events, *extra], key=_order)
        return self


def _order(event: Event) -> tuple[float, int]:
    return event.at, _ORDER.index(event.what)


def _add_boot(events: list[Event], awake: list[Range], boot: Boot, random: Random) -> None:
    events += [Event(boot.on, "boot", offset=boot.offset), Event(boot.off, "off"), Event(boot.on + 0.01, "start")]
    events += [Event(at, "step", step=step) for at, step in boot.steps if at < boot.off]
    since = boot.on
    for begin, end, ends_with, begins_with in boot.pauses(random):
        if begin > since + 0.02 and end < boot.off - 0.02:
            events += [Event(begin, ends_with), Event(end, begins_with)]
            awake.append((since + 0.02, begin))
            since = end
    awake.append((since + 0.02, boot.off))


def _uses(session: str, awake: Sequence[Range], end: float, random: Random) -> Iterable[Event]:
    stops = random.uniform(0, end) if random.random() < 0.6 else end
    mean = random.choice([1, 3, 8, 15, 22, 28]) * DAY
    at = random.uniform(0, mean)
    place = 0
    while at < stops:
        while place < len(awake) and awake[place][1] <= at:
            place += 1
        if place == len(awake):
            return
        begin, until = awake[place]
        at = random.uniform(begin, until) if at < begin else at  # who finds it off comes back when it is on
        yield Event(at, "use", session=session)
        at += random.uniform(0.3, 1.7) * mean


# Kinds of machines ----------------------------------------------------------------------------------------------


def _boots(
    random: Random,
    days: float,
    *,
    up: Range = (5, 40),
    off: Range = (0.05, 0.2),
    time_server: float = 0.7,
    has_battery: bool = True,
    sync_after: Range = (0.02, 0.3),
) -> list[Boot]:
    """Return the runs of a machine; `time_server`: the part of machines whose kernel says that it is synchronised."""
    at, boots, has_server, behind = 0.0, list[Boot](), random.random() < time_server, 0.0
    while at < days * DAY:
        boot = Boot(at, at + random.uniform(*up) * DAY)
        if not has_battery:  # it goes on from the time of its last shutdown
            boot.offset = min(0.0, behind) if boots else -random.uniform(0, 60) * DAY
        if has_server or not has_battery:
            step = Step(None if has_battery else 0.0, has_server)
            boot.steps = [(at + random.uniform(*sync_after), step)]
        is_set = bool(boot.steps) and boot.steps[0][0] < boot.off
        gap = random.uniform(*off) * DAY
        behind = (0.0 if is_set else boot.offset) - gap
        boots.append(boot)
        at = boot.off + gap
    return boots


def steady(random: Random) -> Scenario:
    """An always-on machine that is started anew now and then."""
    return Scenario(random, _boots(random, 150, off=(0.001, 0.01)))


def restarts(random: Random) -> Scenario:
    """A program that is started anew up to six times a day."""
    boots = _boots(random, 120, up=(3, 10), off=(0.001, 0.02))
    for boot in boots:
        days = (boot.off - boot.on) / DAY
        boot.restarts = [random.uniform(boot.on, boot.off) for _ in range(int(days * random.choice([1, 6])))]
    return Scenario(random, boots)


def laptop(random: Random) -> Scenario:
    """It sleeps for 8 to 16 hours of each day."""
    boots, hours = _boots(random, 150, up=(20, 60)), random.choice([8, 13, 16])
    for boot in boots:
        begins = [boot.on + 3 + day * DAY for day in range(int((boot.off - boot.on) / DAY))]
        boot.suspends = [(begin, begin + hours) for begin in begins]
    return Scenario(random, boots)


def nightly_off(random: Random) -> Scenario:
    """It is switched off each night."""
    on = random.uniform(6, 14) / DAY
    return Scenario(random, _boots(random, 150, up=(on, on), off=(1 - on, 1 - on)))


def seldom(random: Random) -> Scenario:
    """It is switched on for some hours every few weeks."""
    return Scenario(random, _boots(random, 900, up=(2 / DAY, 6 / DAY), off=(10, 30)))


def holiday(random: Random) -> Scenario:
    """It is off for weeks now and then."""
    return Scenario(random, _boots(random, 250, up=(20, 60), off=(5, 60)))


def first_install(random: Random) -> Scenario:
    """Old sessions are there already, and more are restored later."""
    ages = {f"restored{number}": random.uniform(0, 300) * DAY for number in range(8)}
    restored = Event(random.uniform(20, 90) * DAY, "restore", ages=ages)
    return Scenario(random, _boots(random, 120), old=20, extra=[restored])


def ttl_tightened(random: Random) -> Scenario:
    """The TTL is shortened one day."""
    tightened = Event(random.uniform(50, 150) * DAY, "tighten", ttl=random.choice([7, 30]) * DAY)
    return Scenario(random, _boots(random, 200), ttl=90 * DAY, extra=[tightened])


def state_lost(random: Random) -> Scenario:
    """The state is lost now and then."""
    lost = [Event(random.uniform(5, 150) * DAY, "lose") for _ in range(random.randint(1, 5))]
    return Scenario(random, _boots(random, 150), extra=lost)


def container(random: Random) -> Scenario:
    """A program that is started anew each day."""
    boots = _boots(random, 120, up=(20, 60))
    for boot in boots:
        boot.restarts = [boot.on + day * DAY + 5 for day in range(int((boot.off - boot.on) / DAY))]
    return Scenario(random, boots)


def _jump(random: Random, ahead: Range, lasts: Range, *, lie: float = 0.5) -> Scenario:
    """The clock of a running machine is set wrong, and later right again."""
    boots = _boots(random, 180, up=(10, 60))
    for boot in boots:
        at = boot.on + random.uniform(1, 10) * DAY
        until = at + random.uniform(*lasts)
        if until < boot.off:
            wrong = Step(random.uniform(*ahead) * DAY, random.random() < lie)
            boot.steps += [(at, wrong), (until, Step(0.0, True))]
    return Scenario(random, boots)


def jump_ahead_short(random: Random) -> Scenario:
    """The clock is ahead for minutes to hours."""
    return _jump(random, (2, 400), (0.1, 17))


def jump_ahead_days(random: Random) -> Scenario:
    """The clock is ahead for up to six days."""
    return _jump(random, (2, 400), (20, 6 * DAY))


def jump_behind(random: Random) -> Scenario:
    """The clock is behind for up to two weeks."""
    return _jump(random, (-400, -2), (1, 15 * DAY), lie=0)


def jump_far_ahead(random: Random) -> Scenario:
    """The clock is ten years ahead for hours."""
    return _jump(random, (3000, 4000), (0.2, 10), lie=0)


def rtc_ahead_at_boot(random: Random) -> Scenario:
    """A bad battery: at some starts the clock is ahead, until a time server sets it, or for that whole run."""
    boots = _boots(random, 180, up=(0.2, 15), time_server=1)
    for boot in boots:
        if random.random() < 0.3:
            boot.offset = random.uniform(1, 500) * DAY
            boot.steps = [(boot.on + random.choice([0.05, 0.5, 5, 15]), Step(0.0, True))]
    return Scenario(random, boots)


def no_rtc(random: Random) -> Scenario:
    """No battery: it starts with the time of its last shutdown, and is set right after minutes to days."""
    after: Range = random.choice([(0.02, 0.3), (1, 20), (DAY, 6 * DAY)])
    boots = _boots(random, 250, up=(7, 40), off=(0.01, 40), has_battery=False, time_server=0.6, sync_after=after)
    for boot in boots:
        days = (boot.off - boot.on) / DAY
        boot.restarts = [random.uniform(boot.on, boot.off) for _ in range(int(days / 4))]
    return Scenario(random, boots)


def no_rtc_uncorrected(random: Random) -> Scenario:
    """The same, but some runs end before the clock is set: nobody ever says by how much their stamps are behind."""
    after = (0.1, 12 * DAY)
    boots = _boots(random, 250, up=(0.5, 12), off=(0.01, 30), has_battery=False, time_server=0.6, sync_after=after)
    return Scenario(random, boots)


def _boots_at(random: Random, epoch: float) -> Scenario:
    boots = _boots(random, 200, up=(0.5, 30), off=(0.002, 10), time_server=1)
    for boot in boots:
        boot.offset = epoch - boot.on
        boot.steps = [(boot.on + random.uniform(0.02, 5 * DAY), Step(0.0, random.random() < 0.7))]
    return Scenario(random, boots)


def boot_1970(random: Random) -> Scenario:
    """Each start is in 1970, until the clock is set."""
    return _boots_at(random, -56 * YEAR)


def boot_at_image_date(random: Random) -> Scenario:
    """Each start is at the day on which the system was built, until the clock is set."""
    return _boots_at(random, -200 * DAY)


def ahead_until_reboot(random: Random) -> Scenario:
    """Set wrong in a running machine, by hand or by a bad server; the battery clock is right at the next start."""
    boots = _boots(random, 200, up=(0.2, 20), time_server=0.3)
    for boot in boots:
        if random.random() < 0.3:
            at = random.uniform(max(boot.on + 1, boot.off - 16), boot.off - 0.1)
            boot.steps += [(at, Step(random.uniform(2, 400) * DAY, False))]
    return Scenario(random, boots)


def rtc_in_local_time(random: Random) -> Scenario:
    """Switched off each night; at each start it is hours ahead or behind, until a time server sets it."""
    zone = random.choice([-11, -5, 1, 2, 9, 12])
    boots = _boots(random, 150, up=(0.3, 0.7), off=(0.2, 0.6), time_server=1)
    for boot in boots:
        boot.offset = zone
        boot.steps = [(boot.on + random.uniform(0.02, 0.2), Step(0.0, True))]
    return Scenario(random, boots)


def nudged(random: Random) -> Scenario:
    """It was far ahead for hours once; since then its clock is corrected by seconds to minutes now and then."""
    boots = _boots(random, 120, up=(20, 60))
    for boot in boots:
        at = boot.on + random.uniform(1, 24)
        boot.steps += [(at, Step(random.uniform(1, 60) * DAY, True)), (at + random.uniform(1, 5), Step(0.0, True))]
        at += 6
        while at < boot.off:
            boot.steps.append((at, Step(random.uniform(-4, 4) / 60, True)))
            at += random.uniform(0.1, 3) * DAY
    return Scenario(random, boots)


def flapping(random: Random) -> Scenario:
    """Two time servers that disagree take turns, every few hours, for up to a week."""
    boots = _boots(random, 150, up=(20, 60))
    for boot in boots:
        wrong = random.choice([-1, 1]) * random.uniform(1, 100) * DAY
        at, until = boot.on + random.uniform(1, 10) * DAY, boot.on + random.uniform(11, 17) * DAY
        while at + 6 < min(until, boot.off):
            boot.steps.append((at, Step(wrong, True)))
            at += random.uniform(0.1, 6)
            boot.steps.append((at, Step(0.0, True)))
            at += random.uniform(0.1, 6)
    return Scenario(random, boots)


def chaos(random: Random) -> Scenario:
    """Any of the machines; removed sessions are restored."""
    machines = [laptop, nightly_off, holiday, jump_ahead_short, jump_behind, rtc_ahead_at_boot, no_rtc, boot_1970]
    scenario = random.choice(machines)(random)
    return scenario.with_more(
        Event(
            random.uniform(5, 150) * DAY,
            "restore",
            ages={f"r{batch}{number}": random.uniform(0, 90) * DAY for number in range(4)},
        )
        for batch in range(3)
    )


def chaos_with_lost_state(random: Random) -> Scenario:
    """The same, and the state is lost up to twice."""
    scenario = chaos(random)
    return scenario.with_more(Event(random.uniform(5, 150) * DAY, "lose") for _ in range(random.randint(0, 2)))


KINDS: Final[dict[str, Callable[[Random], Scenario]]] = {
    kind.__name__: kind
    for kind in (
        steady, restarts, laptop, nightly_off, seldom, holiday, first_install, ttl_tightened, state_lost, container,
        jump_ahead_short, jump_ahead_days, jump_far_ahead, jump_behind, rtc_ahead_at_boot, no_rtc, no_rtc_uncorrected,
        boot_1970, boot_at_image_date, ahead_until_reboot, rtc_in_local_time, nudged, flapping, chaos, chaos_with_lost_state,
    )
}  # fmt: skip


def draw(kind: str, seed: int, number: int) -> Scenario:
    """Return one scenario of a kind; the same one each time."""
    return KINDS[kind](Random(f"{kind} {seed} {number}"))  # noqa: S311 - no secret
