"""One place removes: no other module unlinks, renames or links a session file, by the calls in the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SESSION = Path(__file__).parents[1] / "miniclaw" / "session"

CHANGES = frozenset(
    {
        "unlink", "rename", "link", "rmdir", "renames", "removedirs", "rmtree", "symlink", "hardlink_to",
        "unlink_quietly", "unlink_file", "unlink_all", "rename_exclusively", "name_exclusively", "replace_file",
        "FolderMove", "truncate", "ftruncate",
    }
)  # fmt: skip
"""The calls by which a name leaves a folder, or gets into one in the place of another."""

BENEATH = ("disk/", "ownership/")
"""Rooms that know no session: the steps themselves, and the lock."""

PLACES = "files/places.py"

ELSEWHERE = {
    "as_store/event_log.py": {"write": "the log of a FileStore, in .state", "append": "likewise"},
    "files/directory.py": {"write": "a save, the one way for a session to get another file"},
    "files/ledger.py": {"save": "the ledger, in .state"},
    "journal/journal.py": {"delete": "segments"},
    "journal/replay.py": {"_keep": "records, into .quarantine", "_quarantine": "a segment"},
    "records/history.py": {"_append": "the history", "_bound": "likewise"},
    "records/migration.py": {},
    "records/state.py": {},
    "removal/free_place.py": {
        "_written": "a temporary file of the work folder",
        "create_beside": "a new file in .quarantine",
    },
    "removal/leftovers.py": {
        "_unlink_temporary": "temporary files of the work folder",
        "unlink": "likewise",
    },
    "removal/quarantine_removal.py": {"remove_quarantined": "files in .quarantine", "unlink": "likewise"},
    "removal/restore.py": {"_remove_quarantined": "a file in .quarantine"},
    "removal/staging.py": {
        "recover": "temporary files of the work folder",
        "_keep_one_ready": "empty folders of the work folder",
        "_make": "likewise",
    },
    "trash/trash.py": {},
}
"""Module -> function -> the files that it changes. A module of other folders alone has no functions here."""


def changes(text: str) -> Iterator[tuple[str, str]]:
    """Yield each call that changes names, after the function in which it stands."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        # Also one that is passed on, and is called elsewhere.
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        of_os = isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.remove", "os.replace"}
        if (name in CHANGES or of_os) and isinstance(getattr(node, "ctx", None), ast.Load):
            yield function, name
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function)

    yield from walk(ast.parse(text), "")


def test_session_files_leave_their_places_by_one_module_only() -> None:
    """A new path cannot forget the `void`: what unlinks or renames otherwise is named here, with what it changes."""
    found = set()
    for path in sorted(SESSION.rglob("*.py")):
        module = str(path.relative_to(SESSION))
        if module.startswith(BENEATH) or module == PLACES:
            continue
        for function, name in changes(path.read_text()):
            allowed = ELSEWHERE.get(module)
            assert allowed is not None, f"{module}: {function} calls {name}; session files leave by {PLACES} alone"
            assert not allowed or function in allowed, f"{module}: {function} calls {name}"
            found |= {(module, function if allowed else "")}
    listed = {(module, each) for module, functions in ELSEWHERE.items() for each in functions or [""]}
    assert listed == found


def test_module_of_the_places_lets_no_file_leave_for_good_without_a_void() -> None:
    """Only the methods of `Voided`, and the functions whose docstrings say why they need none."""
    inside = {function for function, _ in changes((SESSION / PLACES).read_text())}
    assert inside == {
        "discard", "move", "put", "adopt",  # of Voided
        "capture", "return_to_place", "forget_capture", "make_room",
    }  # fmt: skip


def test_changes_are_found_wherever_they_stand() -> None:
    """Called, passed on, and in a method."""
    text = "class A:\n    def f(self):\n        self._fs.unlink(1)\n        g(partial(os.rename, 2))\n"
    assert set(changes(text)) == {("f", "unlink"), ("f", "rename")}
