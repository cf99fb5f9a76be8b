"""What the learning bench learns from: the samples as columns, and the frozen encoder's features of their
texts, computed once and kept by a digest of both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import cast

import numpy as np
from rich.progress import track

from perennial.config import Settings
from perennial.jobs import hidden
from perennial.jobs.workshop import trainable
from perennial.samples._newsgroups import LATER
from perennial.samples.newsgroups import Newsgroups
from perennial.samples.sentiment import BUILD, Sentiment
from perennial.task_protocol import Compressible
from perennial.types import Array, Rated
from perennial_perf.benches._sandbox import console, say
from perennial_perf.benches._streams import Corpus


def sentiment(settings: Settings, most: int) -> tuple[Corpus, list[str]]:
    """Its columns and its texts, `most` of each of four domains: gold labels, and what single people said."""
    sample = Sentiment(settings.folder.folder("samples"))
    sample.fetch(say)
    domains = {BUILD: sample.rated(BUILD), **sample.stream()}
    return _columns({name: _drawn(rows, most) for name, rows in domains.items()}, held=None)


def newsgroups(settings: Settings, most: int | None) -> tuple[Corpus, list[str]]:
    """20 classes in one domain, tested on the later posts; all, or `most` of either set."""
    sample = Newsgroups(settings.folder.folder("samples"))
    sample.fetch(say)
    earlier = _drawn([Rated(row.text, row.label, (row.label,)) for row in sample.data()], most)
    later = _drawn(sample.stream()[LATER], most)
    return _columns({"posts": [*earlier, *later]}, held=len(earlier))


def features(settings: Settings, texts: Sequence[str]) -> Path:
    """The .npy file of (texts, hidden) float32: the standardised mean of the last hidden states, of length 1,
    as `heads` takes it."""
    encoder = Sentiment(settings.folder.folder("samples")).encoder()
    digest = hashlib.sha256("\0".join([encoder.name, *texts]).encode()).hexdigest()[:16]
    path = settings.folder.folder("features") / f"{digest}.npy"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, _computed(encoder, texts))
        part.replace(path)
    return path


def _drawn(rows: list[Rated], most: int | None) -> list[Rated]:
    """At random: they stand group by group, or as they were collected."""
    return rows if most is None else Random(0).sample(rows, min(most, len(rows)))


def _columns(domains: dict[str, list[Rated]], held: int | None) -> tuple[Corpus, list[str]]:
    rows = [row for of_domain in domains.values() for row in of_domain]
    labels = tuple(sorted({row.label for row in rows}))
    column = {label: number for number, label in enumerate(labels)}
    corpus = Corpus(
        labels=labels,
        names=tuple(domains),
        gold=np.array([column[row.label] for row in rows]),
        domains=np.repeat(np.arange(len(domains)), [len(of_domain) for of_domain in domains.values()]),
        said=[np.array([column[label] for label in row.ratings]) for row in rows],
        fixed=None if held is None else np.arange(held, len(rows)),
    )
    return corpus, [row.text for row in rows]


def _computed(encoder: Path, texts: Sequence[str]) -> Array:
    task = cast(Compressible, trainable(Sentiment.task))
    model = task.load(encoder, ("any", "other"))
    means = hidden.means(
        task,
        model,
        texts,
        lambda starts: track(starts, f"features of {len(texts):,} texts", console=console),
    )
    centred = means - means.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))
