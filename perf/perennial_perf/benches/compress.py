"""Bench `compress`: the serving release, distilled to half of its layers on what it was built from and on
half of the texts of other domains, without labels; how much quicker the student is, and what it costs on the
golden set and on the other half."""

from __future__ import annotations

from random import Random

from perennial.cli.learn import enqueue_as_asked, run_here_or_follow
from perennial.config import Settings
from perennial.errors import Unavailable
from perennial.jobs import data
from perennial.jobs.choose import SERVING
from perennial.jobs.measure import qualities, rival_of, speeds
from perennial.jobs.workshop import Workshop
from perennial.types import Bundle, Example
from perennial_perf.benches._sandbox import SERVICE, sample, sandbox, say
from perennial_perf.report import Draft, Goal, Report

__all__ = ["run"]

STUDENT = "distill-slim"
SPEED_TEXTS, QUICK_TEXTS = 300, 200
TIMES, POINTS = 2.0, 1.0
"""How much quicker it must be, and what it may cost in macro-F1."""
JOBS_POINTS = 10.0
"""The job itself judges by a fifth of the texts that judge here: it is not to end before they are asked."""


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, (learned, judging) = Draft("compress"), halves(settings, QUICK_TEXTS if quick else None)
    every_core = settings.service(SERVICE).rebuild.model_copy(update={"threads": 0})  # nobody is served
    with sandbox(settings, "compress", watch_s=0, rebuild=every_core) as shop:
        serving, student = shop.bundle(SERVICE, 1), _compressed(shop, learned)
        rivals = {SERVING: rival_of(serving), STUDENT: rival_of(student)}
        golden = data.read(serving.folder / "data/golden.jsonl")[: QUICK_TEXTS if quick else None]
        rows = qualities(serving, rivals, [*golden, *judging], lambda name: say(f"asking {name}"))
        texts = [row.text for row in judging[:SPEED_TEXTS]]
        timed = speeds(serving, rivals, texts, shop.placement(SERVICE))
    times = timed[STUDENT]["texts_per_s"] / timed[SERVING]["texts_per_s"]
    goals = [
        Goal(f"texts/s, {STUDENT} / {SERVING}", times, TIMES, ">="),
        Goal(f"macro-F1 points, {STUDENT} - {SERVING}", rows[STUDENT]["points"], -POINTS, ">="),
    ]
    figures = {name: {**rows[name], **timed[name]} for name in rivals}
    notes = [
        f"{name}: {bundle.manifest['engine']} {bundle.manifest['precision']}"
        for name, bundle in ((SERVING, serving), (STUDENT, student))
    ]
    return draft.report(figures, goals, [*notes, f"{len(golden) + len(judging)} texts judged"])


def halves(settings: Settings, most: int | None) -> tuple[list[Example], list[Example]]:
    """To learn from, and to judge by: texts of all other domains, in halves of `most` texts at most. Those of
    the service's own domain are learned, too; the job leaves out those that judge."""
    known = sample(settings)
    texts = [Example(row.text, row.label) for rows in known.stream().values() for row in rows]
    Random(0).shuffle(texts)
    half = len(texts) // 2
    return [*known.data()[:most], *texts[:half][:most]], texts[half:][:most]


def _compressed(shop: Workshop, learned: list[Example]) -> Bundle:
    """The release that the job put into service."""
    file = shop.state.folder("samples") / "texts.jsonl"
    data.write(file, learned)
    payload = {
        "recipes": [STUDENT],
        "max_drop": JOBS_POINTS,
        "p99_ms": None,
        "texts": str(file),
        "sha256": data.file_digest([file]),
        "dry_run": False,
    }
    job = enqueue_as_asked(shop, SERVICE, "compress", "bench", payload)
    run_here_or_follow(shop, job, quiet=False)
    done = shop.store.job(job.id)
    if done.state != "kept":
        raise Unavailable(f"the student was not kept but {done.state}: {done.detail}")
    return shop.bundle(SERVICE, done.release)
