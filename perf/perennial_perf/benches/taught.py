"""Bench `taught`: a language model whose users want entries of a log in the form of their house. What two
hundred corrections change within a second, what a rebuild makes of them, and what becomes of the rest that
the model could say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from perennial.config import Settings
from perennial.errors import PerennialError
from perennial.jobs import data
from perennial.jobs.workshop import Workshop, pipeline_of, trainable
from perennial.samples.chat import LOG, other_words
from perennial.types import Bundle, Example, Job, Rated
from perennial_client import Client
from perennial_perf.benches._rebuilds import ask_for_rebuild, wait_until_settled, worker
from perennial_perf.benches._sandbox import built, copied, sample, say, serving
from perennial_perf.benches._writing_plots import draw_taught
from perennial_perf.report import Draft, Figures, Goal, Report

__all__ = ["run"]

SAMPLE, TASK = "chat", "generate"
CORRECTED, JUDGED = 200, 60
QUICK = (24, 8)
CLIENTS, PATIENCE_S, LOOK_S = 8, 600.0, 0.01
GENERAL_TOKENS = 24


@dataclass(frozen=True)
class Answered:
    """The share of texts that were answered exactly as wanted, and of those that were answered in the light
    of some correction."""

    right: float
    in_light: float


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("taught")
    bundle = built(settings, SAMPLE, takes="five minutes or so")
    corrected, judged = QUICK if quick else (CORRECTED, JUDGED)
    entries = sample(settings, SAMPLE).stream()[LOG]
    lessons, held_out = entries[:corrected], entries[CORRECTED : CORRECTED + judged]
    general = [row.text for row in data.read(bundle.folder / "data/golden.jsonl")][:judged]
    with (
        copied(settings, bundle, "taught", {"watch_s": 5.0}) as shop,
        serving(shop) as server,
        Client(server.run.grpc_url, timeout=PATIENCE_S) as client,
    ):
        say("the model as it is")
        begun = _asked(client, bundle.service, held_out)
        before = _answers(client, bundle.service, general)
        say(f"{corrected} corrections")
        lag_s = _correct(client, bundle.service, lessons)
        again = [Rated(other_words(one), one.label, one.ratings) for one in lessons[:judged]]
        asked = {"held out": held_out, "corrected": lessons[:judged], "corrected, in other words": again}
        shares: dict[str, dict[str, float]] = {name: {} for name in asked}
        shares["held out"]["as built"] = begun.right

        def ask_all(moment: str) -> Figures:
            told = {name: _asked(client, bundle.service, entries) for name, entries in asked.items()}
            for name, answered in told.items():
                shares[name][moment] = answered.right
            return {f"{name} entries, {moment}": _row(answered) for name, answered in told.items()}

        figures: dict[str, float | Mapping[str, float]] = {
            "s from a receipt to an answer based on it": lag_s,
            "held out entries, as built": _row(begun),
            **ask_all("at once"),
            "other prompts answered as before": _same(before, _answers(client, bundle.service, general)),
        }
        goals = [Goal("s from a receipt to an answer based on it", lag_s, 1.0, "<=")]
        notes: list[str] = []
        if not quick:
            with worker(shop):
                job = _rebuilt(shop, bundle)
            notes.append(f"release {job.release}: {job.state} {job.detail}".strip())
            learned, kept = _learned(shop, bundle, job, held_out)
            figures |= learned
            goals += kept
            figures |= ask_all("after a rebuild")
    picture = settings.folder.folder("reports") / "taught.png"
    draw_taught(shares, picture)
    notes.append(f"drawn: {picture}")
    return draft.report(figures, goals, [*notes, f"{judged} entries judge, asked once each, greedily"])


def _correct(client: Client, service: str, lessons: Sequence[Rated]) -> float:
    """Ask each, and say what was wanted; seconds from the last receipt to an answer based on it."""

    def correct(one: Rated) -> str:
        answer = client.generate(service, one.text)
        return client.feedback(answer, answer.disliked(one.label))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(correct, lessons[:-1]))
    receipt, began = correct(lessons[-1]), time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        if receipt in client.generate(service, lessons[-1].text).based_on:
            return time.monotonic() - began
        time.sleep(LOOK_S)
    raise PerennialError(f"no answer was based on {receipt} within {PATIENCE_S:g} s")


def _asked(client: Client, service: str, entries: Sequence[Rated]) -> Answered:
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda one: client.generate(service, one.text), entries))
    right = [answer.completion.strip() == one.label for answer, one in zip(answers, entries, strict=True)]
    return Answered(float(np.mean(right)), float(np.mean([bool(one.based_on) for one in answers])))


def _answers(client: Client, service: str, texts: Sequence[str]) -> list[str]:
    """One after the other: texts that are written together may round otherwise."""
    return [client.generate(service, text, max_tokens=GENERAL_TOKENS).completion for text in texts]


def _row(answered: Answered) -> dict[str, float]:
    return {"right": answered.right, "in the light of corrections": answered.in_light}


def _same(before: Sequence[str], after: Sequence[str]) -> float:
    return float(np.mean([one == other for one, other in zip(before, after, strict=True)]))


def _rebuilt(shop: Workshop, bundle: Bundle) -> Job:
    say("a rebuild")
    return wait_until_settled(shop, ask_for_rebuild(shop, bundle.service))


def _learned(
    shop: Workshop, bundle: Bundle, job: Job, held_out: Sequence[Rated]
) -> tuple[Figures, list[Goal]]:
    """What the network itself has learned, without any correction beside it, and what it has unlearned."""
    if job.state != "kept":
        return {}, [Goal("held-out entries right, after a rebuild", float("nan"), 0.8, ">=")]
    right = _by_itself(shop.bundle(bundle.service, job.release), held_out)
    golden = data.read(bundle.folder / "data/golden.jsonl")
    first, then = (_perplexity(one, golden) for one in (bundle, shop.bundle(bundle.service, job.release)))
    assert job.started_at and job.finished_at
    figures: Figures = {
        "held-out entries right, after a rebuild, by itself": right,
        "perplexity of golden conversations": {"as built": first, "after a rebuild": then},
        "rebuild, s": job.finished_at - job.started_at,
    }
    return figures, [
        Goal("held-out entries right, after a rebuild", right, 0.8, ">="),
        Goal("perplexity of golden conversations, after a rebuild over as built", then / first, 1.02, "<="),
    ]


def _by_itself(bundle: Bundle, entries: Sequence[Rated]) -> float:
    pipeline = pipeline_of(bundle)
    said = pipeline.codec.told(pipeline.answers([one.text for one in entries]))
    return _same([text for text, _ in said], [one.label for one in entries])


def _perplexity(bundle: Bundle, golden: Sequence[Example]) -> float:
    """Of the answers, token by token."""
    task = trainable(TASK)
    likely = task.score(task.load(bundle.folder / "checkpoint", []), golden).correct
    return float(np.exp(-np.log(likely).mean()))
