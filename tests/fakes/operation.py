"""An operation on session files that the fault tests break, and what has to be true afterwards.

An operation says how the directory lies before, does its work synchronously through the store's own functions with the
system calls it is given, and says of each file what may become of it. `check` judges the directory: right after a
failure, and, more strictly, after the next start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final

from miniclaw.errors import MiniclawError
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.files.subdirectory import TRASH_NAME, Folder
from miniclaw.session.format import codec
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.trash.format import unpack
from miniclaw.session.trash.trash import Trash
from tests.fakes.logs import LogRecorder
from tests.fakes.point_os import Act, PointOs
from tests.fakes.tree import Tree, take_tree
from tests.fakes.work_folder import left_over

OUTSIDE: Final = b"nobody's business"


@dataclass(frozen=True)
class Fate:
    """What may become of one session; None stands for no file.

    Attributes:
        names: The file names under which it may lie, one at a time; the first is what reports call it.
        versions: The contents that it may have.
        final: The one that it has when the operation says that it is done.
        trashed: The content that it has in the trash whenever it is nowhere else; None: it need not be there.
        quarantined: The same in quarantine. With both, one of them is enough.
    """

    names: tuple[str, ...]
    versions: tuple[bytes | None, ...]
    final: bytes | None
    trashed: bytes | None = None
    quarantined: bytes | None = None


@dataclass
class Report:
    """What an operation said about the files it worked on.

    Attributes:
        done: Names of files that are as they shall be.
        failed: Name of a file, or ``*`` -> the sentence that says so.
        lies: What it said that was never true.
    """

    recorder: LogRecorder
    tell: Callable[[str], None] = lambda _: None
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    lies: list[str] = field(default_factory=list)

    def finish(self, *names: str) -> None:
        """Note that files are done, and tell it on."""
        self.done.update(names)
        for name in names:
            self.tell(name)

    def errors(self) -> list[str]:
        """Return the ERRORs in the log, in one text each."""
        return [str(event) for event in self.recorder.events if event["level"] == "error"]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        files: What lies in the sessions directory before: relative path -> content, or the path it is a hard link to.
        fates: What may become of each session.
        precious: Contents that are in place or in quarantine afterwards, wherever they were.
        targets: The files of which it has to say whether it is done.
        from_start: Whether opening, locking and recovery are part of it.
        either: Names of files of which at least one is always there: one session under two ids.
    """

    name: str
    run: Callable[[SessionDirectory, Report], None]
    files: dict[str, bytes | str | None]
    fates: tuple[Fate, ...]
    targets: frozenset[str]
    precious: tuple[bytes, ...] = ()
    from_start: bool = False
    either: tuple[str, ...] = ()

    def tree(self) -> Tree:
        """Return the workspace before the operation."""
        tree: Tree = {"outside.json": (1, OUTSIDE)}
        if self.files:
            tree["sessions"] = (0, None)
        for inode, (name, content) in enumerate(self.files.items(), 2):
            if isinstance(content, str):
                tree[f"sessions/{name}"] = tree[f"sessions/{content}"]
            else:
                tree[f"sessions/{name}"] = (inode, content)
        return tree

    def perform(self, root: Path, act: Act, report: Report) -> None:
        """Do it, with `act` at each of its system calls."""
        fs = PointOs(act if self.from_start else Act())
        try:
            with SessionDirectory.open(root / "sessions", create=True, fs=fs) as directory:
                directory.own()
                StagingArea(directory).recover()
                fs.act = act
                try:
                    self.run(directory, report)
                finally:
                    if not self.from_start:
                        fs.act = Act()
        except MiniclawError as error:
            report.failed["*"] = str(error)


def start(root: Path, act: Act | None = None) -> None:
    """Do what the next start does with the directory."""
    with SessionDirectory.open(root / "sessions", create=True, fs=PointOs(act)) as directory:
        directory.own()
        StagingArea(directory).recover()
        trash_of(directory).sweep()


def trash_of(directory: SessionDirectory) -> Trash:
    """Return the trash of a directory."""
    return Trash(Folder.within(directory, TRASH_NAME))


def check(operation: Operation, root: Path, done: set[str], *, started: bool) -> Iterator[str]:
    """Yield what is wrong with the directory, one sentence each.

    Args:
        operation: What was done, or begun.
        root: The workspace.
        done: What it said it had done.
        started: Whether the next start has been: then nothing is captured or temporary any more.
    """
    tree = take_tree(root)
    if tree.pop("outside.json", (0, b""))[1] != OUTSIDE or any(not name.startswith("sessions") for name in tree):
        yield f"something outside of the directory changed: {sorted(tree)}"
    files = {name.removeprefix("sessions/"): content for name, (_, content) in tree.items() if content is not None}
    place = {name: content for name, content in files.items() if not name.startswith(".")}
    quarantine = [content for name, content in files.items() if name.startswith(".quarantine/")]
    captured = {name: content for name, content in files.items() if name.startswith(".work/rm-")}
    trashed = list(_check_trash(files, started))
    yield from (sentence for sentence in trashed if isinstance(sentence, str))
    known = {name: {*fate.versions, *operation.precious} for fate in operation.fates for name in fate.names}
    for name, content in place.items():
        if content not in known.get(name, ()):
            yield f"{name} is torn or unknown: {content[:60]!r}"
    for fate in operation.fates:
        is_done = fate.names[0] in done
        yield from _check_fate(fate, place, captured, is_done=is_done, started=started)
        somewhere = [*place, *([] if started or is_done else (Path(name).name for name in captured))]
        is_kept = (fate.trashed, fate.quarantined) == (None, None) or fate.quarantined in quarantine
        is_kept = is_kept or any(entry[1] == fate.trashed and entry[0] in fate.names for entry in trashed)
        if not is_kept and not set(fate.names) & set(somewhere):
            yield f"{fate.names[0]} is nowhere, and not kept: {trashed}, {quarantine}"
    yield from _check_either(operation, [*place, *([] if started else (Path(name).name for name in captured))])
    yield from _check_precious(operation, [*place.values(), *quarantine], list(captured.values()), started)
    may_lie_there = {*operation.precious, *(fate.quarantined for fate in operation.fates)}
    for content in quarantine:
        if content not in may_lie_there:
            yield f"in quarantine without need: {content[:60]!r}"
    if started:
        work = [(name, content is None) for name, (_, content) in tree.items() if name.startswith("sessions/.work/")]
        yield from (f"left over: {name}" for name in left_over(work))
        yield from _check_readable(operation, root)
        inodes = [inode for inode, content in tree.values() if content is not None]
        if len(set(inodes)) != len(inodes):
            yield "two names for one file"


def _check_fate(
    fate: Fate, place: dict[str, bytes], captured: dict[str, bytes], *, is_done: bool, started: bool
) -> Iterator[str]:
    here = [place[name] for name in fate.names if name in place]
    aside = [content for name, content in captured.items() if Path(name).name in fate.names]
    if len(here) > 1:
        yield f"{fate.names} are both there"
    allowed = (fate.final,) if is_done else fate.versions
    candidates: list[bytes | None] = [*here, *([] if started or is_done else aside)]
    if not any(content in allowed for content in candidates or [None]):
        yield f"{fate.names[0]} is lost or wrong: {candidates}, done={is_done}"
    if is_done and fate.final is None and aside:
        yield f"{fate.names[0]} is said to be removed and still captured"
    if started and any(content not in fate.versions for content in here):
        yield f"{fate.names[0]} is not what it was: {here}"


def _check_either(operation: Operation, there: list[str]) -> Iterator[str]:
    if operation.either and not set(there).intersection(operation.either):
        yield f"none of {operation.either} is there"


def _check_trash(files: dict[str, bytes], started: bool) -> Iterator[tuple[str, bytes] | str]:
    """Yield the entries of the trash, each with the name and the bytes of its session; a sentence if one is damaged."""
    for name, content in files.items():
        folder, _, entry = name.partition("/")
        if folder == TRASH_NAME and entry.endswith(".gz"):
            try:
                line, session = unpack(BytesIO(content).read)
                yield line.key, session
            except ValueError as error:
                yield f"the entry {entry} is damaged: {error}"
        elif folder == TRASH_NAME and started:
            yield f"left in the trash: {entry}"


def _check_precious(operation: Operation, shown: list[bytes], captured: list[bytes], started: bool) -> Iterator[str]:
    for content in operation.precious:
        count = shown.count(content) + (0 if started else captured.count(content))
        if count < 1 or (started and count != 1):
            yield f"{count} copies, not one, of {content[:60]!r}"


def _check_readable(operation: Operation, root: Path) -> Iterator[str]:
    """The same through the store: each session that lies there is listed and loads."""
    with SessionDirectory.open(root / "sessions") as directory, DirectoryScan(directory) as scan:
        rows = scan.next_batch(seconds=60)
        for row in rows:
            if isinstance(row, StoredSession):
                loaded = codec.encode_session(directory.load(row.header.session_id))
                if json.loads(loaded) != json.loads((root / "sessions" / row.key).read_bytes()):
                    yield f"{row.key} loads as {loaded[:60]!r}"
            elif row.kind != "corrupt" or (root / "sessions" / row.key).read_bytes() not in operation.precious:
                yield f"{row.key} is {row.kind}: {row.reason}"
