"""Names that other programs give to their copies of session files, and to their own temporary files. Pure.

A sync program that finds two versions of a file keeps one under another name; file managers, browsers and editors do so
with duplicates and backups. Such a copy is a conflict copy: it is no session, and it is kept.

A chat id may contain the same text, and the name alone never decides: every file that `names.belongs` accepts is a
session. Any other file whose name has the form that miniclaw gives to sessions is a conflict copy only if its content
names the session from whose file name its own was made.

The forms are those of Syncthing (``.sync-conflict-…``), Dropbox (``(… conflicted copy …)``, ``(Case Conflict)``),
Nextcloud and ownCloud (``(conflicted copy …)``, ``_conflict-…``, ``(case clash from …)``), Seafile
(``(SFConflict …)``), Resilio (``.Conflict``), Synology Drive (``_HOST_…_CaseConflict``), pCloud (``[conflicted]``),
Unison (``(copy: conflict …)``), rclone (``.conflict1``, ``..path1``), OneDrive (``-HOST``, ``-safeBackup-0001``),
Google Drive and browsers (``(1)``), iCloud and Finder (`` 2``, `` copy``), Explorer (`` - Copy``), GNOME
(``(another copy)``), and of editors and patch (``~``, ``.bak``, ``.orig``, ``.rej``). A fixed word counts in any of a
dozen languages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from miniclaw.errors import InvalidSessionIdError
from miniclaw.session import names
from miniclaw.session.entries import ProblemFile
from miniclaw.session.types import SessionHeader

# Texts and not `re.compile`: most scans meet no such file, and compilation takes a millisecond.
_CONFLICT: Final = (
    "conflict|conflit|konflik|конфликт|конфлікт|çak|ütköz|ristiriita|xung đột|競合|問題のあるコピー|冲突|衝突|충돌"
    "|case clash|safebackup"
)
_COPY: Final = "copy|copie|copia|cópia|còpia|kopi|kopj|kopy|копи|копі|másolat|bản sao|コピー|副本|복사"
_NUMBERS: Final = r"(?: ?\(\d{1,4}\)| \d{1,3})"
_ANOTHER: Final = rf"{_NUMBERS}+|~\d{{8}}-\d{{6}}"  # the second: Syncthing's older versions
_WORDED: Final = rf"[ ._(\[-].*(?:{_CONFLICT}).*|[ _(-].*(?:{_COPY}).*"
_BACKUP: Final = r"~|\.~\d+~|\.(?:orig|rej|bak\d*|backup|old|save|mine|theirs)|\.{1,2}path[12]"
_HOST: Final = r"-[^/]{1,63}"
_BEFORE: Final = rf"(?:{_COPY}|{_CONFLICT}).* "  # "Copy of web_a.json"
_STEM: Final = r"[a-z0-9-]{1,32}_.+?"

_TEMPORARY: Final = (
    r"\._.*|~.*|\.~.*|#.*|\.#.*|\.syncthing\..*|\.unison\..*|\.goutputstream-.*|\.nfs[0-9a-f]+|\.fuse_hidden.*"
    r"|.*\.(?:part|partial|filepart|crdownload|download|!sync|bts|sw[a-p])|.*___jb_(?:tmp|old)___"
    r"|4913|desktop\.ini|thumbs\.db|\.ds_store|icon\r"
)

_OTHERS: Final = "it is a temporary file of a sync program, an editor or the system"


def by_name(name: str, *, is_file: bool) -> ProblemFile:
    """Classify an entry of the sessions directory whose name is not that of a session."""
    if is_temporary(name):
        return ProblemFile(name, "foreign", _OTHERS)
    if is_file and (original := original_of(name)) is not None:
        return _conflict(name, original)
    why = "begins with a dot" if name.startswith(".") else f"is not that of a session, which ends in {names.SUFFIX}"
    return ProblemFile(name, "foreign", f"its name {why}")


def by_content(problem: ProblemFile) -> ProblemFile:
    """Classify a file that was read and is no session of its name: unchanged, as a conflict copy, or as foreign.

    A file that the system refused to read remains ``unreadable``: it may be the session of this name.
    """
    if problem.kind not in {"corrupt", "mismatched"}:
        return problem
    name = problem.key
    if is_temporary(name):
        return ProblemFile(name, "foreign", _OTHERS)
    if is_copy_of(name, problem.inside):
        return _conflict(name, names.file_name(problem.inside), problem.header)
    original = original_of(name)
    return problem if original is None else _conflict(name, original, problem.header)


def _conflict(name: str, original: str, header: SessionHeader | None = None) -> ProblemFile:
    return ProblemFile(name, "conflict", f"it is a copy of {original} that another program has made", header)


def original_of(name: str) -> str | None:
    """Return the name of the original of a conflict copy, by the copy's name alone; None: the name is not of that form.

    If a name has several additions, all of them are left out.
    """
    if names.is_of_our_form(name):
        return None
    composed, folded = unicodedata.normalize("NFC", name), _folded(name)
    if len(composed) != len(folded):  # a few letters have a folded form of another length
        composed = folded
    for pattern in _patterns(folded):
        match = re.fullmatch(pattern, folded, re.DOTALL)
        if match:
            original = composed[match.start(1) : match.end(1)]
            if names.is_channel(original.partition("_")[0]):
                return original + names.SUFFIX
    return None


def whose(name: str) -> frozenset[str]:
    """Return the names of the session files of which a file may be a copy, by its own name.

    They are the original of a conflict copy, and each session file name with which the name begins, be it after a mark
    of a temporary file: ``web_a.json`` for ``web_a.json.1``, ``.web_a.json.swp`` and ``.~lock.web_a.json#``.
    """
    begins = [match.end() for match in re.finditer(r"^|[.~#\s]", name)]
    ends = [match.end() for match in re.finditer(re.escape(names.SUFFIX), name)]
    found = {name[begin:end] for begin in begins for end in ends if begin < end}
    found = {each for each in found if "_" in each and names.is_channel(each.partition("_")[0])}
    original = original_of(name)
    return frozenset(found if original is None else {*found, original})


def is_copy_of(name: str, session_id: str) -> bool:
    """Return whether a file of this name, whose content names this session, is a conflict copy of the session's file.

    The name is not the session's own; the id need not be valid.
    """
    try:
        stems = [_folded(own.removesuffix(names.SUFFIX)) for own in names.file_names(session_id)]
    except InvalidSessionIdError:
        return False
    folded = _folded(name).removesuffix(names.SUFFIX)
    return any(
        (folded.startswith(stem) and re.fullmatch(f"{_ANOTHER}|{_WORDED}|{_HOST}", folded[len(stem) :], re.DOTALL))
        or (folded.endswith(stem) and re.fullmatch(_BEFORE, folded[: -len(stem)], re.DOTALL))
        for stem in stems
    )


def is_temporary(name: str) -> bool:
    """Return whether a name is that of a temporary file of a sync program, an editor or the system."""
    return re.fullmatch(_TEMPORARY, name.casefold(), re.DOTALL) is not None


def _patterns(folded: str) -> Iterator[str]:
    """Yield the patterns for a folded name; the first group of each is the original's name without its suffix."""
    if re.search(f"{_CONFLICT}|{_COPY}", folded):  # most names have no such word, and these three are slow
        yield rf"({_STEM})(?:{_WORDED})\.json"
        yield rf"({_STEM})\.json(?:{_WORDED})"
        yield rf"{_BEFORE}({_STEM})\.json(?:{_BACKUP})?"
    yield rf"({_STEM})(?:{_ANOTHER})\.json"
    yield rf"({_STEM})\.json(?:{_BACKUP}|{_ANOTHER})"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
