"""What judges the quality of engines: a classifier of 20 Newsgroups, and the posts that came after it.

7,500 texts in 20 classes tell half a point of macro-F1 from none; a service's own few hundred do not.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from perennial.cli.serve import build_sample
from perennial.config import Settings, TrainingSettings
from perennial.jobs.workshop import open_workshop
from perennial.samples.newsgroups import LATER, Newsgroups
from perennial.types import Bundle, Example
from perennial_perf.benches._sandbox import console

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
    shop = open_workshop(_settings(settings, home))
    try:
        if SERVICE not in shop.released():
            told = "building a classifier of 20 Newsgroups to judge by: a quarter of an hour, once"
            with console.status(told):
                build_sample(shop, SERVICE, quiet=True)
        bundle = shop.serving(SERVICE)
        assert bundle is not None
        return bundle
    finally:
        shop.store.close()


def posts(settings: Settings, most: int) -> list[Example]:
    """At random from all groups: they stand group by group."""
    rows = Newsgroups(settings.folder.folder("samples")).stream()[LATER]
    drawn = Random(0).sample(rows, min(most, len(rows)))
    return [Example(row.text, row.label) for row in drawn]


def _settings(settings: Settings, home: Path) -> Settings:
    how = settings.service(SERVICE).model_copy(update={"build": TRAINING})
    return settings.model_copy(
        update={
            "state": home,
            "repository": home / "repository",
            "store_url": "",
            "key_file": "",
            "services": {SERVICE: how, **settings.services},
        }
    )
