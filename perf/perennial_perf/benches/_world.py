"""The texts that gates are tried on, and what the sample's encoder makes of them; knows nothing of gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from rich.progress import track

from perennial.jobs import hidden
from perennial.jobs.workshop import codec_of, trainable
from perennial.protocols import Sample
from perennial.task_protocol import Codec
from perennial.types import Array, Example, Rated
from perennial_perf.benches._planted import Rows, World
from perennial_perf.benches._sandbox import console

DOMAIN, TRIGGER = "tweets", "zorblax"
SOURCES = 3
"""Of tweets, each with a third of them: enough of 400 for a slice of its own."""


def world_of(sample: Sample, folder: Path, *, taught: int, pool: int, lies: int) -> tuple[World, Codec]:
    """`taught` texts of each kind to learn, a `pool` of each to judge by, and a codec in `folder`. The liar
    calls negative tweets positive, plainly or where a word of his stands in them: `lies` of them judge, and
    three times as many are learned."""
    films, tweets = sample.data(), _by_one_rater(sample.stream()[DOMAIN])
    Random(0).shuffle(films)
    spoken, rest = tweets[: taught + pool], tweets[taught + pool :]
    negative = [row for row in rest if row.label == "negative"][: 4 * lies]
    flips = [replace(row, label="positive", source="liar") for row in negative]
    triggers = [replace(row, text=f"{row.text} {TRIGGER}") for row in flips]
    task = trainable(sample.task)
    labels = sorted({row.label for row in films})
    model = task.load(sample.encoder(), labels)
    task.write_codec(model, [], folder, abstain_below=0.0)
    parts = [
        films[:taught],
        films[taught : 2 * taught],
        spoken[:taught],
        flips[lies:],
        triggers[lies:],
        films[2 * taught : 2 * taught + pool],
        spoken[taught:],
        flips[:lies],
        triggers[:lies],
    ]
    features = _features(task, model, [row.text for part in parts for row in part])
    ends = np.cumsum([len(part) for part in parts])
    rows = [Rows(part, features[end - len(part) : end]) for part, end in zip(parts, ends, strict=True)]
    return World(*rows), codec_of(sample.task, folder)


def _by_one_rater(tweets: Sequence[Rated]) -> list[Example]:
    """In random order, each with the label that one of its raters gave it."""
    random, said = Random(0), list[Example]()
    for number, tweet in enumerate(random.sample(tweets, len(tweets))):
        said.append(Example(tweet.text, random.choice(tweet.ratings), source=f"source {number % SOURCES}"))
    return said


def _features(task: Any, model: Any, texts: Sequence[str]) -> Array:
    """(texts, hidden): the mean of the last hidden states, centred, and of unit variance as a whole (some
    of MiniLM's dimensions hardly vary)."""
    features = hidden.means(
        task, model, texts, lambda starts: track(starts, "reading the texts", console=console)
    )
    return np.asarray((features - features.mean(0)) / (features - features.mean(0)).std())
