"""Bench `tag`: a tagger that a build made of CoNLL-2003 beside one that plain transformers made of the same
encoder and sentences in as many steps; and what its head learns of 500 sentences of another domain, of texts
in a hurry (`_shifted`), each corrected as soon as it is answered, through a server.

Judged by seqeval, on words as CoNLL has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from seqeval.metrics import f1_score

from perennial.config import Settings
from perennial.jobs.workshop import Workshop
from perennial.types import Bundle, Example
from perennial_client import Client, Span
from perennial_perf.benches._learned import PATIENCE_S, until_learned
from perennial_perf.benches._plain_tagger import PlainTagger, classes_of, gold
from perennial_perf.benches._rebuilds import worker
from perennial_perf.benches._sandbox import built, copied, sample, say, serving
from perennial_perf.benches._shifted import shifted
from perennial_perf.report import Draft, Figures, Goal, Report

__all__ = ["run"]

SAMPLE = "conll"
CORRECTED = 500
QUICK = (100, 200, 4)
"""Corrected sentences, how many of the others judge, and steps of the plain one."""
SEED, WEIGHT_DECAY, WARM_UP = 0, 0.01, 0.06
NEWS, HURRIED = "CoNLL", "in a hurry"

Row: TypeAlias = dict[str, float]


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, known = Draft("tag"), sample(settings, SAMPLE)
    bundle = built(settings, SAMPLE, takes="ten minutes or more")
    corrected, judged, steps = QUICK if quick else (CORRECTED, None, None)
    later = [Example(row.text, row.label) for rows in known.stream().values() for row in rows]
    Random(SEED).shuffle(later)
    sets = later[corrected:][:judged], [shifted(one, SEED) for one in later[corrected:][:judged]]
    lessons = [shifted(one, SEED) for one in later[:corrected]]
    with (
        copied(settings, bundle, "tag", {}) as shop,
        serving(shop) as server,
        worker(shop),
        Client(server.run.grpc_url) as client,
    ):
        before = _scores(lambda texts: _served(client, bundle, texts), sets)
        lag_s = _correct(client, shop, bundle, lessons)
        after = _scores(lambda texts: _served(client, bundle, texts), sets)
    how = bundle.manifest["lineage"]["training"]
    say(f"teaching plain transformers as many steps: {steps or how['max_steps']}")
    tagger = PlainTagger(
        known.encoder(),
        known.data(),
        SEED,
        max_steps=steps or how["max_steps"],
        learning_rate=how["learning_rate"],
        per_device_train_batch_size=how["batch_size"],
        weight_decay=WEIGHT_DECAY,
        warmup_steps=WARM_UP,
    )
    plain = _scores(tagger.classes, sets)
    figures: Figures = {
        "perennial, as built": before,
        "… with what its head learned": after,
        "plain transformers": plain,
        "from the last receipt to the answers of a head that learned all, s": lag_s,
    }
    return draft.report(
        figures,
        [
            Goal("entity F1 on CoNLL, as built - plain", before[NEWS] - plain[NEWS], -1.0, ">="),
            Goal("entity F1 gained on texts in a hurry", after[HURRIED] - before[HURRIED], 5.0, ">="),
            Goal("entity F1 lost on CoNLL by that", before[NEWS] - after[NEWS], 0.5, "<="),
            Goal("s until the head answers", lag_s, 1.0, "<="),
        ],
        [f"{corrected} sentences corrected, judged on {len(sets[0])} others of the test set"],
    )


def _scores(classes: Callable[[Sequence[str]], list[list[str]]], sets: Sequence[list[Example]]) -> Row:
    """Entity F1 in points on each set, of what says the classes of the words of texts."""
    return {
        name: 100 * float(f1_score([gold(one) for one in of], classes([one.text for one in of])))
        for name, of in zip((NEWS, HURRIED), sets, strict=True)
    }


def _served(client: Client, bundle: Bundle, texts: Sequence[str]) -> list[list[str]]:
    found = client.tag(bundle.service, [*texts], timeout=PATIENCE_S)
    return [classes_of(one.text, [(s.start, s.end, s.label) for s in one.spans]) for one in found]


def _correct(client: Client, shop: Workshop, bundle: Bundle, lessons: Sequence[Example]) -> float:
    """Ask, and say what the spans are; seconds from the last to a head that has learned all."""
    until_learned(shop, bundle)  # a worker that has just started reads the release first
    for lesson in lessons:
        answer = client.tag(bundle.service, lesson.text, timeout=PATIENCE_S)
        client.feedback(answer, [Span(*span) for span in json.loads(lesson.label)])
    return until_learned(shop, bundle)
