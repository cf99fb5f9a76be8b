"""Sentiment of English sentences: the MiniLM-L6 encoder, film reviews to build from, and three other domains
(tweets, product reviews, editorials) as a stream.

Each text was rated from -4 to 4 by at least 15 people: Hutto and Gilbert, "VADER: a parsimonious rule-based
model for sentiment analysis of social media text", ICWSM 2014, whom users of the data are asked to cite. The
mean rating gives the gold label; a single rating is what one user would have said.
"""

from __future__ import annotations

import html
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean

from perennial.errors import Broken
from perennial.packages import Package
from perennial.samples._kept import Kept
from perennial.samples._minilm import minilm
from perennial.split import fingerprint
from perennial.types import Example, Rated

__all__ = ["Sentiment"]

RATINGS = Package(
    name="vaderSentiment",
    version="3.3.2",
    archive="vaderSentiment-3.3.2.tar.gz",
    form="source",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    licence="MIT; cite Hutto and Gilbert, ICWSM 2014",
)
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
BUILD = "movie"
_FILES = {
    BUILD: "movieReviewSnippets",
    "tweets": "tweets",
    "amazon": "amazonReviewSnippets",
    "nytimes": "nytEditorialSnippets",
}


class Sentiment:
    service = "sentiment"
    task = "classify"

    def __init__(self, folder: Path) -> None:
        self._encoder = minilm(folder)
        self._ratings = Kept(folder, RATINGS, unpack)

    def fetch(self, say: Callable[[str], None]) -> None:
        self._encoder.fetch(say)
        self._ratings.fetch(say)

    def encoder(self) -> Path:
        return self._encoder.have()

    def data(self) -> list[Example]:
        """Film reviews, in the order that they were collected in; no text stands there twice."""
        return [Example(rated.text, rated.label, source=BUILD) for rated in self.rated(BUILD)]

    def documents(self) -> dict[str, str]:
        return {}

    def stream(self) -> dict[str, list[Rated]]:
        return {domain: self.rated(domain) for domain in _FILES if domain != BUILD}

    def rated(self, domain: str) -> list[Rated]:
        """What people said of a domain's texts; of `BUILD` too, whose single ratings `data` leaves out."""
        with self._ratings.have(f"{domain}.jsonl").open(encoding="utf-8") as lines:
            rows = (json.loads(line) for line in lines)
            return [Rated(row["text"], row["label"], tuple(row["ratings"])) for row in rows]


def unpack(source: Path, folder: Path) -> None:
    """Each domain as `<domain>.jsonl`; of texts that are alike but for case and spacing, the first of all."""
    seen: set[bytes] = set()
    with tarfile.open(source) as outer, tarfile.open(fileobj=io.BytesIO(_member(outer, _INNER))) as inner:
        for domain, stem in _FILES.items():
            texts = _table(inner, f"hutto_ICWSM_2014/{stem}_GroundTruth.txt")
            ratings = _table(inner, f"hutto_ICWSM_2014/{stem}_anonDataRatings.txt")
            with (folder / f"{domain}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in _lines(texts, ratings, seen))


def _lines(texts: Mapping[str, str], ratings: Mapping[str, str], seen: set[bytes]) -> Iterator[str]:
    for key, escaped in texts.items():
        text = html.unescape(escaped).strip()
        if (mark := fingerprint(text)) not in seen:
            seen.add(mark)
            said: list[int] = json.loads(ratings[key])
            # Of 199 tweets the published mean is not that of the published ratings: go by the ratings.
            row = {"text": text, "label": label_of(fmean(said)), "ratings": [label_of(one) for one in said]}
            yield json.dumps(row, ensure_ascii=False)


def _table(archive: tarfile.TarFile, name: str) -> dict[str, str]:
    """The first and the last column of a tab-separated file."""
    lines = _member(archive, name).decode("utf-8-sig").split("\n")
    rows = [line.rstrip("\r").split("\t") for line in lines if line]
    return {row[0]: row[-1] for row in rows}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise Broken(
            f"{name} is not a file in the pinned {RATINGS.archive}; delete the sample and fetch it again"
        )
    return file.read()


def label_of(rating: float) -> str:
    """The nearest whole rating decides, of a mean as of a person: 0 is neutral.

    So the labels of people and of their mean agree as far as people do: 89 % of single ratings of films with
    their gold label, 86 of products, 81 of tweets, 70 of editorials.
    """
    if abs(rating) <= 0.5:
        return "neutral"
    return "positive" if rating > 0 else "negative"
