"""What judges the quality of engines: a classifier of 20 Newsgroups, and the posts that came after it.

7,500 texts in 20 classes tell half a point of macro-F1 from none; a service's own few hundred do not.
"""

from __future__ import annotations

from random import Random

from perennial.config import ServiceSettings, Settings, TrainingSettings
from perennial.samples._newsgroups import LATER
from perennial.samples.newsgroups import Newsgroups
from perennial.types import Bundle, Example
from perennial_perf.benches._sandbox import built
from perennial_perf.sandbox import elsewhere

SERVICE = Newsgroups.service
TRAINING = TrainingSettings(
    learner="finetune",
    epochs=1,
    max_steps=350,
    learning_rate=3e-4,
    balance=0.0,
    max_seconds=3600.0,
    threads=0,
)


def classifier(settings: Settings) -> Bundle:
    """Built once, on a state of its own below the user's, as a user would build it."""
    home, samples = settings.folder.folder("newsgroups"), settings.folder.folder("samples").resolve()
    if not (home / "samples").exists():
        (home / "samples").symlink_to(samples, target_is_directory=True)
    how = settings.services.get(SERVICE, ServiceSettings(build=TRAINING))
    moved = elsewhere(settings, home, home / "repository", {SERVICE: how})
    return built(moved, SERVICE, "a quarter of an hour, once")


def posts(settings: Settings, most: int) -> list[Example]:
    """At random from all groups: they stand group by group."""
    rows = Newsgroups(settings.folder.folder("samples")).stream()[LATER]
    drawn = Random(0).sample(rows, min(most, len(rows)))
    return [Example(row.text, row.label) for row in drawn]
