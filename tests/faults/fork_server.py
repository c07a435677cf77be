"""A process that forks a child for each point at which to die, and looks at what the child has left.

Run as ``python -m tests.faults.fork_server OPERATION DIRECTORY``: a process of its own, with one thread and no event
loop, imports everything once and forks as often as it likes. It prints its findings as one JSON object.

First it kills the operation before and after each of its system calls, and half way through each of its writes. Each
directory that comes of it is started over and checked. Then every such directory with unfinished work in it is taken
as the beginning of a start that is killed at *its* calls: at every eighth one, in turns. With MINICLAW_SOAK above 1 at
each, and what that leaves is taken likewise, and so on until no start leaves anything new (but for random names).
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import structlog

from tests.fakes.logs import LogRecorder
from tests.fakes.operation import Operation, Report, check, start
from tests.fakes.point_os import Act, Kill
from tests.fakes.tree import Tree, put_tree, shape, take_tree
from tests.faults.dying_child import Tell, in_child
from tests.faults.operations import SOAK
from tests.faults.trash_operations import ALL_OPERATIONS

WHEN: Final = ("before", "after", "half")
# What a start over a conflict reports, as it should; any other ERROR is a finding.
LEGITIMATE_ERROR: Final = "Two files for one session; one is in quarantine"

CALLS_PER_KILL: Final = 8 if SOAK == 1 else 1

Work = Callable[[Act, Report], None]


class Explorer:
    """Kills an operation wherever it can be killed.

    Attributes:
        operation_points: How often the operation was killed.
        start_points: How often a start after it was.
        wrong: What was found wrong, one sentence each.
    """

    def __init__(self, operation: Operation, root: Path) -> None:
        self._operation = operation
        self._root = root
        self._recorder = LogRecorder()
        structlog.configure(processors=[self._recorder], cache_logger_on_first_use=False)
        self._seen: set[Any] = set()
        self._unfinished: deque[tuple[Tree, frozenset[str]]] = deque()
        self.operation_points = 0
        self.start_points = 0
        self.wrong: list[str] = []

    def explore(self) -> None:
        """Kill the operation at each point, and then each start that follows."""

        def operate(act: Act, report: Report) -> None:
            self._operation.perform(self._root, act, report)

        def start_again(act: Act, _: Report) -> None:
            start(self._root, act)

        beginning = self._operation.tree()
        self.operation_points = self._kill_everywhere(beginning, frozenset(), operate, self._operation.name, 1, 1)
        first = len(self._unfinished)
        for turn in itertools.count():
            if not self._unfinished or (turn == first and SOAK == 1):
                break
            tree, done = self._unfinished.popleft()
            what = f"a start after {self._operation.name}"
            k = 1 + turn % CALLS_PER_KILL
            self.start_points += self._kill_everywhere(tree, done, start_again, what, k, CALLS_PER_KILL)

    def _kill_everywhere(self, tree: Tree, done: frozenset[str], work: Work, what: str, first: int, step: int) -> int:
        points = 0
        for when in WHEN:
            for k in itertools.count(first, step):
                put_tree(self._root, tree)
                killed, told = perform(work, Kill(k, when), self._recorder)
                now_done = done | told
                for sentence in self._judge(now_done):
                    self.wrong.append(f"{what}, killed {when} call {k}: {sentence}")
                if not killed:
                    break
                points += 1
        return points

    def _judge(self, done: frozenset[str]) -> Iterator[str]:
        left = take_tree(self._root)
        yield from check(self._operation, self._root, set(done), started=False)
        # Without anything in the work folder, or half a copy in the trash, a start has nothing to do at which it could be killed.
        if (key := (shape(left), done)) not in self._seen and any(
            ("/.work/" in name or "/.trash/tmp-" in name) and content is not None for name, (_, content) in left.items()
        ):
            self._unfinished.append((left, done))
        self._seen.add(key)
        self._recorder.events.clear()
        start(self._root)
        for event in self._recorder.events:
            if event["level"] == "error" and event["event"] != LEGITIMATE_ERROR:
                yield f"the start logged {event}"
        for sentence in check(self._operation, self._root, set(done), started=True):
            yield f"after the start: {sentence}"


def perform(work: Work, act: Act, recorder: LogRecorder) -> tuple[bool, frozenset[str]]:
    """Do work in a forked child; return whether it was killed, and what it had said to be done before."""

    def do(tell: Tell) -> None:
        report = Report(recorder, tell=tell)
        work(act, report)
        # Who was not killed has to have done it all.
        if report.failed or report.lies:
            raise RuntimeError(f"failed: {report.failed}, lies: {report.lies}")

    killed, told = in_child(do)
    return killed, frozenset(told)


def main(name: str, root: str) -> None:
    """Explore one operation and print what was found."""
    explorer = Explorer(ALL_OPERATIONS[name], Path(root))
    explorer.explore()
    found = {
        "operation_points": explorer.operation_points,
        "start_points": explorer.start_points,
        "wrong": explorer.wrong,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
