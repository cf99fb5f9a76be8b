"""Bench `recommend`: a stream of what people watch, learned period by period, against popularity, what was
built at first, a full retrain and a library of others; and how soon a click changes the next answer.

The data is MovieLens-100K in the order of time: who rated a film has watched it.
"""

from __future__ import annotations

import time
from copy import deepcopy
from pathlib import Path

from perennial.config import Settings
from perennial.errors import PerennialError, Unavailable
from perennial.jobs.learn import open_head
from perennial.jobs.live_head import LiveHead
from perennial.jobs.workshop import Workshop, pipeline_of, trainable
from perennial.types import Example, FeedbackRow, Tensors
from perennial_client import Client, Recommended
from perennial_perf import payloads
from perennial_perf.benches import _movies
from perennial_perf.benches._movies import TASK, TOP, Course, Stream
from perennial_perf.benches._peer_processes import install
from perennial_perf.benches._sandbox import built, copied, sample, say, serving, target
from perennial_perf.load import Plan, background
from perennial_perf.report import Draft, Figures, Goal, Report
from perennial_perf.stats import percentiles

__all__ = ["run"]

SAMPLE, CLIENTS, PATIENCE_S, LOOK_S = "movies", 8, 30.0, 0.01
PEERS = Path(__file__).parents[2] / "recommenders"
VARIANTS = ("ALS", "BPR", "item-item cosine")
PERIOD, CLICKS, HEAD, SECONDS = 10_000, 50, 2000, 8.0
QUICK = (300, 3, 200, 1.0)
"""Rows of each period; clicks that are awaited; rows that a head learns; how long the load lasts."""
SHARE = 0.1
"""Of a full retrain's time."""


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, known = Draft("recommend"), sample(settings, SAMPLE)
    bundle = built(settings, SAMPLE)
    period, clicks, head, seconds = QUICK if quick else (PERIOD, CLICKS, HEAD, SECONDS)
    periods = [[Example(one.text, one.label) for one in rows[:period]] for rows in known.stream().values()]
    taught = known.data()[-period * 5 :]
    notes: list[str] = []
    with copied(settings, bundle, "recommend", {"explore": 0.0}) as shop:
        folder = shop.settings.state
        stream = Stream(known.documents(), taught, periods, known.encoder(), folder)
        courses = _courses(stream, settings, notes, quick)
        moved = _head(shop, periods[0], head)
        with serving(shop) as server, Client(server.run.grpc_url) as client:
            waits = [_until_clicked(client, bundle.service, number) for number in range(clicks)]
            plan = Plan(target(server), CLIENTS, seconds=seconds)
            asked = payloads.suggestions(bundle.service, [row.text for row in periods[0][:500]], TOP)
            with background(plan, asked) as load:
                latencies = percentiles(load.wait().latency_ms.tolist())
    rows = {name: course.row(len(stream.items)) for name, course in courses.items()}
    ours, full, stale = (rows[name] for name in ("incremental", "full retrain", "stale"))
    recall, learning = f"recall@{TOP}", "learning, s"
    figures: Figures = {
        **rows,
        "head alone, period 1: before": moved[0],
        f"… after {head} rows": moved[1],
        "ms, 8 clients": latencies,
        "a click in the next answer, ms": percentiles([1000 * wait for wait in waits]),
    }
    best = max((rows[name][recall] for name in rows if name.startswith("implicit")), default=float("nan"))
    return draft.report(
        figures,
        [
            Goal(f"{recall}, incremental - full retrain", ours[recall] - full[recall], 0.0, ">="),
            Goal("learning time, incremental / full retrain", ours[learning] / full[learning], SHARE, "<="),
            Goal(f"{recall}, incremental - stale", ours[recall] - stale[recall], 0.0, ">="),
            Goal(f"{recall}, incremental - popularity", ours[recall] - rows["popularity"][recall], 0.0, ">="),
            Goal(f"{recall}, incremental - the best of implicit", ours[recall] - best, 0.0, ">="),
            Goal("s until the next answer reflects a click, at most", max(waits), 1.0, "<="),
        ],
        [*notes, "each period is asked about before it is learned; nothing that was taken is recommended"],
    )


def _courses(stream: Stream, settings: Settings, notes: list[str], quick: bool) -> dict[str, Course]:
    say("teaching what is built at first")
    began = trainable(TASK).load(stream.encoder, [])
    began.know(stream.items)
    _movies.learn(stream, began, stream.built, [], trainable(TASK).building)
    ways = {
        "popularity": _movies.popularity,
        "stale": _movies.stale,
        "incremental": _movies.incremental,
        "full retrain": _movies.retrained,
    }
    courses = {name: way(stream, deepcopy(began), say) for name, way in ways.items()}
    if not quick:
        courses |= _peers(stream, settings, notes)
    return courses


def _peers(stream: Stream, settings: Settings, notes: list[str]) -> dict[str, Course]:
    found, folder = {}, PEERS / "implicit"
    for variant in VARIANTS:
        try:
            home = settings.folder.folder("peers").resolve()
            python = install(home, "implicit", folder / "requirements.txt")
            say(f"implicit, {variant}")
            found[f"implicit, {variant}"] = _movies.peer(stream, python, folder / "ranks.py", variant)
        except Unavailable as error:
            notes.append(f"implicit, {variant}: {error}")
    return found


def _head(shop: Workshop, rows: list[Example], count: int) -> tuple[dict[str, float], dict[str, float]]:
    """What is found of as many rows as are learned, that came after them, before and after."""
    bundle = shop.bundle(shop.released()[0], 1)
    lessons, later = rows[:count], rows[count : 2 * count] or rows[:count]
    pipeline, live = pipeline_of(bundle), open_head(shop, bundle)

    def score() -> dict[str, float]:
        answers = pipeline.answers([row.text for row in later])
        return dict(pipeline.codec.score(answers, later).metrics)

    before = score()
    _take(live, lessons, pipeline.outputs([row.text for row in lessons]))
    pipeline.codec.take_head(live.judged().weights)
    return before, score()


def _take(live: LiveHead, lessons: list[Example], outputs: list[Tensors]) -> None:
    rows = [
        FeedbackRow(live.bundle.service, one.text, one.label, f"user {number}", row=number + 1)
        for number, one in enumerate(lessons)
    ]
    live.take(rows, live.described(rows, outputs, None))


def _until_clicked(client: Client, service: str, number: int) -> float:
    """Seconds from the receipt of a click to an answer that reflects it."""
    user = f"bench {number}"
    first = client.recommend(service, user)
    item = first.suggestions[number % TOP].item
    client.feedback(first, first.clicked(item))
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        if _reflects(client.recommend(service, user), item):
            return time.monotonic() - began
        time.sleep(LOOK_S)
    raise PerennialError(f"no answer reflected the click of {user!r} within {PATIENCE_S:g} s")


def _reflects(answer: Recommended, clicked: str) -> bool:
    return clicked not in [one.item for one in answer.suggestions]
