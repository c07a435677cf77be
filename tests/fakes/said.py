"""What was said in sessions, and which of it was acknowledged: a model that a crash is judged by.

A session is in one of several possible states: the acknowledged one, and what was begun since. `check` compares a
directory after a start with them, and takes what it finds for the beginning of the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from miniclaw.errors import SessionNotFoundError, StoreError
from miniclaw.session.types import Session

Event: TypeAlias = tuple[str, tuple[str | int | list[str], ...]]
"""The name of a method of `Said`, and its arguments."""

_SHOWN: Final = 8


@dataclass
class Life:
    """A session from its beginning to its removal.

    Attributes:
        texts: What was said, in this order.
        sure: So many of them were acknowledged.
        pins: The pins that it may have: the one acknowledged last, and those set since.
    """

    texts: list[str] = field(default_factory=list)
    sure: int = 0
    pins: set[bool] = field(default_factory=lambda: {False})

    def may_be(self, texts: Sequence[str], *, pinned: bool) -> bool:
        """Return whether a session with these messages and this pin is it."""
        return self.sure <= len(texts) and list(texts) == self.texts[: len(texts)] and pinned in self.pins

    def __str__(self) -> str:
        return f"{self.sure} sure of {_short(self.texts)}, pins {sorted(self.pins)}"


class Said:
    """The model. Each session is for one task only.

    Args:
        session_ids: All sessions; none exists at first.
        note: Called with each event before it takes effect; `take` repeats it elsewhere. May be set later.
    """

    def __init__(self, session_ids: Sequence[str], note: Callable[[Event], None] = lambda _: None) -> None:
        self.session_ids = session_ids
        self.note = note
        self._possible: dict[str, list[Life | None]] = {session_id: [None] for session_id in session_ids}
        self._trashed: dict[str, Life] = {}
        self._moving: list[tuple[str, str]] = []
        self.acknowledgements = 0

    def take(self, event: Event) -> None:
        """Repeat an event."""
        name, arguments = event
        getattr(self, name)(*arguments)

    def life(self, session_id: str) -> Life | None:
        """Return the session as it is in memory; None: it does not exist."""
        return self._possible[session_id][-1]

    def begin(self, session_id: str) -> None:
        """The session may exist from now on, without a message."""
        self.note(("begin", (session_id,)))
        self._possible[session_id].append(Life())

    def meet(self, session_id: str, texts: list[str], pinned: bool) -> bool:
        """Return whether a session may be in memory like this after a start; it was just begun, in case it was absent.

        What a start has found is durable.
        """
        self.note(("meet", (session_id, texts, pinned)))
        *before, fresh = self._possible[session_id]
        if any(life is not None and life.may_be(texts, pinned=pinned) for life in before):
            self._possible[session_id] = [Life(list(texts), len(texts), {pinned})]
            return True
        self._possible[session_id] = [None, fresh]
        return None in before and not texts

    def say(self, session_id: str, text: str) -> None:
        """The message may be in the session from now on; it is like no other."""
        self.note(("say", (session_id, text)))
        self._living(session_id).texts.append(text)

    def refuse(self, session_id: str, text: str) -> None:
        """The message was not accepted."""
        self.note(("refuse", (session_id, text)))
        self._living(session_id).texts.remove(text)

    def pin(self, session_id: str, pinned: bool) -> None:
        """The session may have this pin from now on."""
        self.note(("pin", (session_id, pinned)))
        self._living(session_id).pins.add(pinned)

    def keep(self, session_id: str, count: int, pinned: bool) -> None:
        """So many messages, and this pin, are acknowledged."""
        self.note(("keep", (session_id, count, pinned)))
        life = self._living(session_id)
        life.sure, life.pins = max(life.sure, count), {pinned}
        self._possible[session_id] = [life]
        self.acknowledgements += 1

    def remove(self, session_id: str) -> None:
        """The session may be gone from now on."""
        self.note(("remove", (session_id,)))
        self._possible[session_id].append(None)

    def removed(self, session_id: str) -> None:
        """The removal is acknowledged."""
        self.note(("removed", (session_id,)))
        self._trashed[session_id] = self._last_life(session_id)
        self._possible[session_id] = [None]
        self.acknowledgements += 1

    def restore(self, session_id: str) -> None:
        """The session that was removed last may be back from now on, whole."""
        self.note(("restore", (session_id,)))
        self._possible[session_id].append(_whole(self._trashed[session_id]))

    def restored(self, session_id: str) -> None:
        """That is acknowledged."""
        self.note(("restored", (session_id,)))
        self._possible[session_id] = [self._living(session_id)]
        self.acknowledgements += 1

    def move(self, session_id: str, target_id: str) -> None:
        """The session may have the other id from now on, whole, or both ids."""
        self.note(("move", (session_id, target_id)))
        self._possible[target_id].append(_whole(self._living(session_id)))
        self._possible[session_id].append(None)
        self._moving.append((session_id, target_id))

    def moved(self, session_id: str, target_id: str) -> None:
        """That is acknowledged."""
        self.note(("moved", (session_id, target_id)))
        self._possible[session_id] = [None]
        self._possible[target_id] = [self._living(target_id)]
        self._moving.remove((session_id, target_id))
        self.acknowledgements += 1

    def check(self, load: Callable[[str], Session]) -> dict[str, list[str]]:
        """Compare all sessions with the model; return what is ``lost``, ``torn`` or ``returned``, in sentences.

        Args:
            load: Loads a session, with the errors of `SessionDirectory.load`.
        """
        wrong: dict[str, list[str]] = {"lost": [], "torn": [], "returned": []}
        for session_id in self.session_ids:
            possible = self._possible[session_id]
            what = f"{session_id}: may be {' or '.join(map(str, reversed(possible)))}"
            try:
                session = load(session_id)
            except SessionNotFoundError:
                if None not in possible:
                    wrong["lost"].append(f"{what}; is gone")
                self._possible[session_id] = [None]
                continue
            except StoreError as error:
                wrong["torn"].append(f"{what}; {error}")
                self._possible[session_id] = [None]
                continue
            texts, pinned = [message.content for message in session.messages], bool(session.pinned)
            if not any(life is not None and life.may_be(texts, pinned=pinned) for life in possible):
                kind = "returned" if possible == [None] else "lost"
                wrong[kind].append(f"{what}; is {_short(texts)}, pinned {pinned}")
            self._possible[session_id] = [Life(texts, len(texts), {pinned})]
        for session_id, target_id in self._moving:
            if self.life(session_id) is None and self.life(target_id) is None:
                wrong["lost"].append(f"{session_id} was moved to {target_id}, and is at neither")
        self._moving.clear()
        self._trashed.clear()
        return wrong

    def _living(self, session_id: str) -> Life:
        life = self.life(session_id)
        assert life is not None
        return life

    def _last_life(self, session_id: str) -> Life:
        return next(life for life in reversed(self._possible[session_id]) if life is not None)


def _whole(life: Life) -> Life:
    copy = deepcopy(life)
    copy.sure = len(copy.texts)
    return copy


def _short(texts: Sequence[str]) -> str:
    words = [text.partition(" ")[0] for text in texts]
    shown = words if len(words) <= _SHOWN else [*words[:2], "…", *words[2 - _SHOWN :]]
    return f"[{' '.join(shown)}]"
