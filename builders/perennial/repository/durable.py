"""Files that are whole or absent, whenever the process is killed or the power goes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring all that is in `folder` to the disk, the files before the folders that name them."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


def replace_text(path: Path, text: str, part: Path) -> None:
    """Make `path` say `text`; until then it says what it said. `part` is on the same file system."""
    part.write_text(text)
    sync(part)
    part.rename(path)
    sync(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename within a file system: `source` is gone and `target` is there at the same instant."""
    source.rename(target)
    sync(target.parent)
    sync(source.parent)
