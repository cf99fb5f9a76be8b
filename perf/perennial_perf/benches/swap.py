"""Bench `swap`: releases come, go and fail to load under load, and nobody who asks notices.

Two releases that answer differently take turns under ever higher numbers. The load asks what tells them
apart, so that an answer which one release signed and the other one's engine gave would stand out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.config import Settings
from perennial.errors import Unavailable
from perennial.jobs.workshop import Workshop
from perennial.types import Bundle, Example
from perennial_perf import payloads
from perennial_perf.benches._releases import Probabilities, answered, distance, expected, train_further
from perennial_perf.benches._sandbox import (
    OPEN_GATES,
    SERVICE,
    sample,
    sandbox,
    say,
    serving,
    target,
    texts_of,
)
from perennial_perf.benches._turns import Event, Kind, Turn, go_through, make_candidates, schedule
from perennial_perf.load import Plan, background
from perennial_perf.report import Draft, Figures, Goal, Report
from perennial_perf.stats import percentiles
from perennial_perf.trace import Trace

__all__ = ["run"]

CLIENTS = 8
APART, SAME = 0.6, 0.3
"""Distances between answers: the texts that are asked have the releases at least `APART`, and an answer
further than `SAME` from that of the release that signed it is mixed. Neighbours in a batch move the scores of
an engine that quantises as it goes: 0.12 at the 99th percentile, 0.23 at most in 24,000 answers."""
LEAST_TEXTS, MOST_TEXTS = 10, 800
HALF_WINDOW_S = 0.5
WARM_S = 2.0
BEFORE, WORST, POOLED = "steady", "the second around a promotion, worst", "the seconds around promotions"


@dataclass(frozen=True)
class Size:
    """`rows` are what the second release learns."""

    requests: int
    promotions: int
    roll_backs: int
    failing: int
    rows: int


FULL = Size(20_000, 20, 5, 3, 1500)
QUICK = Size(500, 2, 1, 1, 500)


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("swap")
    size = QUICK if quick else FULL
    with sandbox(settings, "swap", **OPEN_GATES) as shop:
        pair = _two_releases(shop, settings, size.rows)
        texts, answers = _telling_texts(pair)
        turns = schedule(size.promotions, size.roll_backs, size.failing)
        make_candidates(shop, pair, turns)
        trace, events = _swap_under_load(shop, turns, texts, size)
    mixing = judge(trace, texts, answers, turns)
    windows = windows_of(trace, events)
    figures: Figures = {
        "texts that tell the releases apart": len(texts),
        **mixing,
        "requests/s": trace.rate,
        "promotion ms, median": float(np.median([event.swap_ms for event in _of(events, "promotion")])),
        "roll-back ms, max": max(event.swap_ms for event in _of(events, "roll-back")),
        "publishing s, median": _median_publish_s(events),
        **windows,
    }
    return draft.report(figures, _goals(size, trace, events, mixing, windows))


def _goals(
    size: Size,
    trace: Trace,
    events: Sequence[Event],
    mixing: Mapping[str, float],
    windows: Mapping[str, Mapping[str, float]],
) -> list[Goal]:
    promotions = _of(events, "promotion")
    slowdown = windows[WORST]["p99"] / windows[BEFORE]["p99"]
    return [
        Goal("requests", len(trace), size.requests, ">="),
        Goal("promotions", len(promotions), size.promotions, "=="),
        Goal("roll-backs", len(_of(events, "roll-back")), size.roll_backs, "=="),
        Goal("candidates that failed to load", len(_of(events, "failing candidate")), size.failing, "=="),
        Goal("failed requests", trace.failed, 0, "=="),
        Goal("answers mixing releases", mixing["answers mixing releases"], 0, "=="),
        Goal("promotion ms, max", max(event.swap_ms for event in promotions), 50, "<="),
        Goal("worst p99 in the second around a promotion / steady p99", slowdown, 3, "<="),
        Goal("processes of a serving release restarted", sum(one.restarted for one in events), 0, "=="),
    ]


def _two_releases(shop: Workshop, settings: Settings, rows: int) -> tuple[Bundle, Bundle]:
    """Release 1, and release 2, which went on to learn a domain that the first never saw."""
    first = shop.bundle(SERVICE, 1)
    domain, rated = next(iter(sample(settings).stream().items()))
    say(f"training a second release on {rows} texts of {domain}")
    return first, train_further(shop, first, [Example(one.text, one.label) for one in rated[:rows]])


def _telling_texts(pair: tuple[Bundle, Bundle]) -> tuple[list[str], Probabilities]:
    """The texts to ask, and each release's answers to them: (releases, texts, labels)."""
    texts = list(dict.fromkeys(text for bundle in pair for text in texts_of(bundle, MOST_TEXTS // 2)))
    answers = np.stack([expected(bundle, texts) for bundle in pair])
    telling = np.flatnonzero(distance(*answers) >= APART)
    if len(telling) < LEAST_TEXTS:
        raise Unavailable(
            f"the releases differ on {len(telling)} of {len(texts)} texts, {LEAST_TEXTS} are needed to see a "
            "mixed answer; give the service more epochs or a higher learning rate"
        )
    return [texts[index] for index in telling], answers[:, telling]


def _swap_under_load(
    shop: Workshop, turns: Sequence[Turn], texts: Sequence[str], size: Size
) -> tuple[Trace, list[Event]]:
    """The pauses between the turns are such that the load asks at least `size.requests` times."""
    labels = len(shop.bundle(SERVICE, 1).manifest["labels"])
    with serving(shop) as server:
        plan = Plan(target(server), CLIENTS, seconds=3600.0, keep=True)
        with background(plan, payloads.questions(SERVICE, texts, top_k=labels)) as load:
            time.sleep(WARM_S)
            pause_s = size.requests / _rate(shop, turns[0].before) / len(turns)
            events = go_through(shop, server, turns, max(pause_s, 3 * HALF_WINDOW_S))
            return load.stop(), events


def _rate(shop: Workshop, release: int) -> float:
    """Requests that the server answers each second now."""
    with shop.control() as control:
        assert control
        began, before = time.monotonic(), control.figures(SERVICE, release).succeeded
        time.sleep(WARM_S)
        return (control.figures(SERVICE, release).succeeded - before) / (time.monotonic() - began)


def judge(
    trace: Trace, texts: Sequence[str], answers: Probabilities, turns: Sequence[Turn]
) -> dict[str, float]:
    """Each answer beside what the release that signed it answers in process."""
    variants = {1: 0, 2: 1, **{turn.release: turn.variant for turn in turns}}
    off = []
    for number, reply in zip(trace.payload[trace.answered], _replies(trace), strict=True):
        answer = payloads.answer(SERVICE, texts[number], reply)
        off.append(float(distance(answered(answer), answers[variants[answer.release], number])))
    return {
        "answers mixing releases": sum(far > SAME for far in off),
        "distance of an answer from its release's, p99": percentiles(off)["p99"],
        "distance of an answer from its release's, max": max(off, default=float("nan")),
    }


def _replies(trace: Trace) -> list[bytes]:
    return [reply for reply, code in zip(trace.replies, trace.code, strict=True) if code == 0]


def windows_of(trace: Trace, events: Sequence[Event]) -> dict[str, dict[str, float]]:
    """Latencies by what went on when a request began."""
    promotions = _of(events, "promotion")
    around = [_around(trace, event) for event in promotions]
    failing = [trace.between(event.began, event.ended) for event in _of(events, "failing candidate")]
    return {
        BEFORE: _row(calm(trace, events)),
        POOLED: _row(*around),
        WORST: max((_row(one) for one in around), key=lambda row: row["p99"]),
        "while a release is published": _row(
            *(trace.between(one.began, one.published) for one in promotions)
        ),
        "the seconds around roll-backs": _row(*(_around(trace, one) for one in _of(events, "roll-back"))),
        "while a candidate fails to load": _row(*failing),
    }


def calm(trace: Trace, events: Sequence[Event]) -> Trace:
    """What began when nothing went on: past the warm-up, and half a second or more from every event."""
    begins = float(trace.started.min()) + WARM_S
    spans = [(event.began - HALF_WINDOW_S, event.ended + HALF_WINDOW_S) for event in events]
    quiet = trace.started >= begins
    for start, end in spans:
        quiet &= (trace.started < start) | (trace.started >= end)
    return trace.where(quiet)


def _around(trace: Trace, event: Event) -> Trace:
    return trace.between(event.ended - HALF_WINDOW_S, event.ended + HALF_WINDOW_S)


def _row(*traces: Trace) -> dict[str, float]:
    latencies = np.concatenate([trace.latency_ms for trace in traces])
    return {"requests": len(latencies), **percentiles(latencies)}


def _of(events: Sequence[Event], kind: Kind) -> list[Event]:
    return [event for event in events if event.kind == kind]


def _median_publish_s(events: Sequence[Event]) -> float:
    return float(np.median([event.published - event.began for event in _of(events, "promotion")]))
