"""More texts to learn from: of each row a copy, in which some words are gone or say the same in another word.

Wei and Zou, "EDA", arXiv:1901.11196, with its rate. A copy mostly says what its row says: "not" is a word
too.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from perennial.errors import Unavailable
from perennial.types import Example

RATE = 0.1
"""The share of words that change."""
Change = Callable[[str, Random], str]
"""What a word becomes; empty where it goes."""


def augmented(rows: Sequence[Example], ways: Sequence[str], seed: int) -> list[Example]:
    """The rows, then for each way the copies of those that it changes and leaves some words of. `Unavailable`
    for synonyms where WordNet is not here."""
    rng, copies = Random(seed), []
    for way in ways:
        change = _WAYS[way]()
        copies += [replace(row, text=_changed(row.text, change, rng)) for row in rows]
    known = {row.text for row in rows}
    return [*rows, *(copy for copy in copies if copy.text and copy.text not in known)]


def _changed(text: str, change: Change, rng: Random) -> str:
    words = (change(word, rng) if rng.random() < RATE else word for word in text.split())
    return " ".join(word for word in words if word)


def _dropout() -> Change:
    return lambda word, rng: ""  # noqa: ARG005


def _synonyms() -> Change:
    known = synonyms(Path(os.environ.get("WNSEARCHDIR", "/usr/share/wordnet")))  # Debian's, unless it is said

    def change(word: str, rng: Random) -> str:
        before, letters, after = _PARTS.fullmatch(word).groups()  # type: ignore[union-attr]  # matches all
        same = known.get(letters.lower())
        return f"{before}{rng.choice(same)}{after}" if same else word

    return change


_WAYS: dict[str, Callable[[], Change]] = {"word-dropout": _dropout, "synonyms": _synonyms}
_PARTS = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)


def synonyms(folder: Path) -> dict[str, list[str]]:
    """By word, in lower case, what else means the same; of words alone that mean one thing, so that no sense
    has to be guessed. `folder` has WordNet's data files."""
    meanings: dict[str, list[list[str]]] = defaultdict(list)
    for kind in ("noun", "verb", "adj", "adv"):
        for words in _meanings(folder / f"data.{kind}"):
            for word in words:
                meanings[word].append(words)
    return {
        word: others
        for word, found in meanings.items()
        if len(found) == 1
        and "_" not in word
        and (others := [other for other in found[0] if other != word and "_" not in other])
    }


def _meanings(path: Path) -> Iterator[list[str]]:
    """The words of each meaning. A line is `offset file type count word id word id …`, the count in
    hexadecimal; lines of the licence begin with a space (wndb(5WN))."""
    if not path.is_file():
        raise Unavailable(
            f"synonyms need WordNet, and there is no {path}; `apt-get install wordnet-base`, or set "
            "WNSEARCHDIR to the folder of its data files"
        )
    with path.open(encoding="ascii") as lines:
        for line in lines:
            if not line.startswith(" "):
                fields = line.split(" ")
                words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                yield [word.partition("(")[0].lower() for word in words]
