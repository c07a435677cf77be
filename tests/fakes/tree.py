"""Directory trees as values: taken, put back with their hard links, and compared but for random names."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Hashable
from pathlib import Path
from typing import TypeAlias

Tree: TypeAlias = dict[str, tuple[int, bytes | None]]
"""Relative path -> number of the inode and content; None is a directory."""

_RANDOM = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}(?=\.gz$|$)|(?<=tmp-)[0-9a-f]{16}|(?<=rm-)[0-9a-f]{16}")


def take_tree(root: Path) -> Tree:
    """Return what lies below a directory, which may be missing."""
    tree: Tree = {}
    for folder, folders, files in os.walk(root):
        for name in sorted(folders):
            path = Path(folder, name)
            tree[str(path.relative_to(root))] = (0, None)
        for name in sorted(files):
            path = Path(folder, name)
            tree[str(path.relative_to(root))] = (path.stat().st_ino, path.read_bytes())
    return tree


def put_tree(root: Path, tree: Tree) -> None:
    """Make a directory hold just this tree."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(mode=0o700)
    first: dict[int, Path] = {}
    for name, (inode, content) in tree.items():
        path = root / name
        if content is None:
            path.mkdir(mode=0o700)
        elif inode in first:
            path.hardlink_to(first[inode])
        else:
            first[inode] = path
            path.write_bytes(content)


def shape(tree: Tree) -> Hashable:
    """Return a value that is the same for trees that differ in random names, inode numbers and the lock's text only."""
    groups: dict[int, list[str]] = {}
    for name, (inode, content) in tree.items():
        if content is not None:
            groups.setdefault(inode, []).append(_RANDOM.sub("#", name))
    rows = [
        (_RANDOM.sub("#", name), "" if name.endswith(".lock") else repr(content), tuple(sorted(groups.get(inode, ()))))
        for name, (inode, content) in tree.items()
    ]
    return tuple(sorted(rows))
