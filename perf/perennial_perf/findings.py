"""A demo's report: what its story comes to in figures, and the goals that these meet or miss."""

from __future__ import annotations

from collections.abc import Mapping

from perennial_perf.report import Draft, Goal, Report
from perennial_perf.stats import percentiles
from perennial_perf.story import AROUND_S, SETTLED_S, Replay, Story, raters_right

LEAST_GAIN = 0.001
MOST_FORGOTTEN = 0.03
MOST_SECONDS = 300.0


def report_of(draft: Draft, story: Story) -> Report:
    figures: dict[str, float | Mapping[str, float]] = {
        "requests answered": int(story.trace.answered.sum()),
        "requests failed": story.trace.failed,
        "corrections acknowledged": story.sent,
        "corrections stored": story.stored,
    }
    for replay in story.replays:
        figures |= _domain(replay, story)
    figures |= _home(story)
    figures |= _latencies(story)
    figures |= _promotions(story)
    return draft.report(figures, _goals(story), _notes(story))


def _domain(replay: Replay, story: Story) -> dict[str, Mapping[str, float]]:
    name = replay.domain
    return {
        f"{name}: {shown}": {
            "before": replay.before.metrics[name][metric],
            "live": replay.live[metric],
            "after": replay.after.metrics[name][metric],
            "at the end": story.last.metrics[name][metric],
        }
        for metric, shown in story.shown.items()
    }


def _home(story: Story) -> dict[str, Mapping[str, float]]:
    """What became of the domain that the service began with."""
    first, last = story.first.metrics[story.home], story.last.metrics[story.home]
    return {
        f"{story.home}: {shown}": {"at the start": first[metric], "at the end": last[metric]}
        for metric, shown in story.shown.items()
    }


def _latencies(story: Story) -> dict[str, Mapping[str, float]]:
    spans = {"at rest": story.at_rest}
    for replay in story.replays:
        if rebuild := replay.rebuild:
            name = f"release {rebuild.release}"
            spans[f"{name}, being made"] = story.lasted(rebuild)
            if rebuild.promotion:
                windows = rebuild.promotion.windows
                spans |= {f"{name}, {when} promotion": span for when, span in windows.items()}
    return {name: _latency(story, *span) for name, span in spans.items()}


def _latency(story: Story, start: float, end: float) -> dict[str, float]:
    trace = story.trace.between(start, end)
    times = percentiles(trace.latency_ms, (50, 99))
    answered = int(trace.answered.sum())
    return {
        "answered": answered,
        "failed": trace.failed,
        **{f"{point} ms": value for point, value in times.items()},
    }


def _promotions(story: Story) -> dict[str, Mapping[str, float]]:
    return {
        f"release {rebuild.release} ({rebuild.domain})": {
            "corrections learned": rebuild.rows,
            "s from the last of them to promotion": promotion.since_last,
            "s from the first": promotion.since_first,
            "swap ms": promotion.swap_ms,
        }
        for rebuild, promotion in story.promotions
    }


def _goals(story: Story) -> list[Goal]:
    (gaining, gained), (losing, lost_of) = story.shown.items()
    lost = story.first.metrics[story.home][losing] - story.last.metrics[story.home][losing]
    gains = [
        Goal(
            f"{replay.domain}: {gained} gained on held-out texts", _gained(replay, gaining), LEAST_GAIN, ">="
        )
        for replay in story.replays
    ]
    slowest = max((promotion.since_last for _, promotion in story.promotions), default=float("nan"))
    return [
        Goal("requests failed", story.trace.failed, 0, "=="),
        Goal("corrections acknowledged but not stored", story.sent - story.stored, 0, "=="),
        *gains,
        Goal(f"{story.home}: {lost_of} lost", lost, MOST_FORGOTTEN, "<="),
        Goal("s from the last correction to promotion, at most", slowest, MOST_SECONDS, "<="),
    ]


def _gained(replay: Replay, metric: str) -> float:
    before, after = (one.metrics[replay.domain][metric] for one in (replay.before, replay.after))
    return after - before


def _notes(story: Story) -> list[str]:
    """What the figures mean, and what became of each attempt to learn."""
    return [
        "before, after, at the end: on held-out texts with gold labels, which are never sent as corrections",
        "live: each answer before its correction is sent (prequential), against the gold label",
        "being made: from the start of a rebuild until its release began to load, or was refused",
        f"during promotion: from the load of its stages to {SETTLED_S:g} s after the swap; before and after: "
        f"{AROUND_S:g} s each",
        "seconds to promotion count from the last correction that the release learned, and from the first",
        "the peaks of latency between two rebuilds are the demo's own judging, of some 2,000 texts",
        *(_told(replay) for replay in story.replays),
    ]


def _told(replay: Replay) -> str:
    rebuild = replay.rebuild.told if replay.rebuild else "too few corrections for a rebuild"
    raters = raters_right(replay.corrections)
    return f"{replay.domain}: {rebuild}; a single rating is the gold label {raters:.0%} of the time"
