"""Where a text may be cut without tearing what a person sees as one character. Pure.

The rules of Unicode's UAX #29 that matter in chats: line ends, combining marks, emoji with skin tones, joined and
tagged emoji, keycaps, flags, Hangul. Python's strings hold code points, so a surrogate pair cannot be torn.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_JOINER: Final = "\u200d"
_MAX_FLAGS: Final = 64  # how far back flags are counted


def is_boundary(text: str, index: int) -> bool:
    """Return whether a text may be cut before the character at `index`; the ends are boundaries."""
    if index <= 0 or index >= len(text):
        return True
    before, after = text[index - 1], text[index]
    if after.isascii() and before.isascii():
        return not (before == "\r" and after == "\n")
    if _extends(after) or before == _JOINER:
        return False
    if _is_flag_half(before) and _is_flag_half(after):
        halves = 0
        while halves < _MAX_FLAGS and halves < index and _is_flag_half(text[index - 1 - halves]):
            halves += 1
        return halves % 2 == 0
    return not _is_hangul_syllable(before, after)


def _extends(char: str) -> bool:
    return (
        unicodedata.category(char) in {"Mn", "Me", "Mc"}
        or char == _JOINER
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags, of the flags of regions
    )


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _is_hangul_syllable(before: str, after: str) -> bool:
    leads = "\u1100" <= before <= "\u115f"
    vowel = "\u1160" <= before <= "\u11a7"
    tails = "\u11a8" <= before <= "\u11ff"
    if "\u1100" <= after <= "\u115f" or "\uac00" <= after <= "\ud7a3":
        return leads
    if "\u1160" <= after <= "\u11a7":
        return leads or vowel or ("\uac00" <= before <= "\ud7a3" and (ord(before) - 0xAC00) % 28 == 0)
    if "\u11a8" <= after <= "\u11ff":
        return vowel or tails or "\uac00" <= before <= "\ud7a3"
    return False
