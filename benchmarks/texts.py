"""What is said in the benchmark's sessions: sentences, code, tables, calls of tools, all from a seed."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Final

from miniclaw.session.types import Message, Role, ToolCall

_SENTENCES: Final = 3_000  # in the pool that all texts draw from; drawing every word anew would take minutes

_COMMON: Final = (
    "the the the the and and and to to to of of a a a in in is is it it you that that for for on with as this was "
    "be at by not are from have can will would should there their about which when what how some time day week "
    "morning tomorrow today please could find look write read send remind check change open close start stop need "
    "want think know make take give show list file folder server message note meeting calendar report question "
    "answer number example problem reason result weather train ticket flight recipe garden kitchen window table "
    "invoice customer project budget version release branch error test setting password account address street "
    "first second last next new old good better small large quick slow every another because however although "
    "therefore between before after during without against toward probably usually certainly perhaps"
)
_WORDS: Final = _COMMON.split()

_SPICE: Final = (
    'She said "not before Friday", and that was that.',
    "Run:\n\n```sh\njournalctl -u miniclaw --since today | tail -n 40\n```\n",
    "It\u2019s the café by the river — naïve, but it works 🙂.",
    "| day | from | to |\n| --- | --- | --- |\n| Mon | 09:10 | 11:45 |\n",
    "The path is C:\\Users\\me\\notes.txt, if I remember it right.",
)


def turn(rng: Random, pool: list[str], when: datetime) -> list[Message]:
    """Return what a person says and what comes of it."""

    def say(role: Role, sentences: int, **fields: object) -> Message:
        return Message(role, " ".join(rng.choices(pool, k=sentences)), when, **fields)  # type: ignore[arg-type]

    said = [say("user", rng.randint(1, 3))]
    if rng.random() < 0.15:
        call = ToolCall(f"call_{rng.getrandbits(48):012x}", "read_file", '{"path": "notes/today.md", "limit": 200}')
        said += [say("assistant", 1, tool_calls=(call,)), say("tool_result", rng.randint(5, 25), tool_call_id=call.id)]
    return [*said, say("assistant", rng.randint(2, 10))]


def sentences(rng: Random) -> list[str]:
    """Return the pool that all texts draw from."""

    def sentence() -> str:
        if rng.random() < 0.04:
            return rng.choice(_SPICE)
        return " ".join(rng.choices(_WORDS, k=rng.randint(5, 18))).capitalize() + rng.choice("....?!")

    return [sentence() for _ in range(_SENTENCES)]
