"""A demo's picture: what users saw, what was learned, and what it cost those who were only asking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from perennial_perf.stats import Floats, percentiles
from perennial_perf.story import Rebuild, Replay, Story, raters_right, right, rolling

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.ticker import LogLocator, NullFormatter

WINDOW, SETTLED = 200, 40
"""How many corrections a live curve looks back, and the fewest that it is drawn for."""
BIN_S = 3.0
ROOM = 1.8
"""Above the slowest request, for what is written there."""
INK, FAINT, GRID = "#22313f", "#7b8a97", "#e4e9ed"
BEFORE, AFTER, PROMOTED, LEARNING = "#b8c4ce", "#0f7b6c", "#d1495b", "#f3ead7"
COLOURS = ("#2a6fbb", "#c9762b", "#7a4ea3")
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw(story: Story, path: Path) -> None:
    """Write the picture as a PNG, whole or not at all."""
    with pyplot.rc_context(STYLE):
        figure = pyplot.figure(figsize=(13, 11.5), dpi=130, layout="constrained")
        figure.get_layout_engine().set(h_pad=0.12, w_pad=0.08, hspace=0.04)
        live, judged, latency = figure.subfigures(3, 1, height_ratios=(1.1, 1.0, 1.0))
        _draw_live(live, story)
        _draw_judged(judged, story)
        _draw_latency(latency.subplots(), story)
        figure.suptitle(_headline(story), fontsize=14, fontweight="bold", x=0.012, ha="left")
        keep(figure, path)


def _headline(story: Story) -> str:
    promoted = sum(1 for _ in story.promotions)
    releases = "1 release" if promoted == 1 else f"{promoted} releases"
    asked, failed = len(story.trace), story.trace.failed
    return f"{story.sent:,} corrections, {releases} promoted, {asked:,} requests, {failed} failed"


def _draw_live(figure: Any, story: Story) -> None:
    panels = np.ravel(figure.subplots(1, len(story.replays), sharey=True))
    for panel, replay, colour in zip(panels, story.replays, COLOURS, strict=False):
        _draw_users(panel, replay, colour)
    panels[0].set_ylim(*_span(story))
    panels[0].set_ylabel(f"right, of a release's last {WINDOW}")
    panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _span(story: Story) -> tuple[float, float]:
    """Where the curves and the raters are, with room for a legend below."""
    curves = [curve for replay in story.replays for _, curve in _by_release(replay)]
    values = np.concatenate([*curves, [raters_right(replay.corrections) for replay in story.replays]])
    low, high = float(values.min()), float(values.max())
    return low - 0.55 * (high - low), min(high + 0.1 * (high - low), 1.02)


def _draw_users(panel: Any, replay: Replay, colour: str) -> None:
    """The answers that users got, as they came; each before its user said what was right."""
    raters = raters_right(replay.corrections)
    panel.axhline(raters, color=FAINT, lw=1.2, ls=(0, (2, 3)), label=f"one human rating: {raters:.0%}")
    label = "answers, live"
    for numbers, curve in _by_release(replay):
        panel.plot(numbers, curve, color=colour, lw=2.2, label=label)
        label = "_"
    panel.set_title(f"{replay.domain}: right answers to its users")
    panel.set_xlabel("corrections")
    panel.set_xlim(0, len(replay.corrections))
    if replay.rebuild:
        _mark_rebuild(panel, replay, replay.rebuild)
    panel.legend(loc="lower left")


def _by_release(replay: Replay) -> list[tuple[Floats, Floats]]:
    """For each release that answered: the numbers of its corrections, and its rolling share of right ones."""
    releases = np.array([one.release for one in replay.corrections])
    curves = []
    for release in np.unique(releases):
        numbers = np.flatnonzero(releases == release).astype(np.float64) + 1
        curve = rolling(right(replay.corrections)[releases == release], WINDOW)
        settled = min(SETTLED, len(curve) - 1)
        curves.append((numbers[settled:], curve[settled:]))
    return curves


def _mark_rebuild(panel: Any, replay: Replay, rebuild: Rebuild) -> None:
    ended = rebuild.promotion.swapped if rebuild.promotion else rebuild.ended
    begins, ends = (
        sum(one.at <= moment for one in replay.corrections) for moment in (rebuild.started, ended)
    )
    panel.axvspan(begins, ends, color=LEARNING, zorder=0, label="a release is made")
    word, colour = _ending(rebuild)
    panel.axvline(ends, color=colour, lw=1.6, label=f"release {rebuild.release} {word}")


def _ending(rebuild: Rebuild) -> tuple[str, str]:
    """How it ended, in a word and a colour."""
    if rebuild.promotion is None:
        return rebuild.state, INK
    return ("promoted" if rebuild.state == "kept" else f"promoted, then {rebuild.state}"), PROMOTED


def _draw_judged(figure: Any, story: Story) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    for panel, (metric, name) in zip(panels, story.shown.items(), strict=True):
        _draw_bars(panel, story, metric)
        panel.set_title(f"{name} on texts held out")
    panels[1].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)


def _draw_bars(panel: Any, story: Story, metric: str) -> None:
    """Around each domain's own corrections; the first domain has none, and all that came lies between."""
    spans = {replay.domain: (replay.before, replay.after) for replay in story.replays}
    spans[story.home] = (story.first, story.last)
    at = np.arange(len(spans))
    for shift, side, colour in ((-0.19, 0, BEFORE), (0.19, 1, AFTER)):
        values = [rounds[side].metrics[domain][metric] for domain, rounds in spans.items()]
        bars = panel.bar(at + shift, values, 0.36, color=colour, label=("before", "after")[side])
        panel.bar_label(bars, fmt="%.2f", padding=3, fontsize=9, color=INK)
    ends = [story.last.metrics[domain][metric] for domain in spans]
    panel.plot(at + 0.19, ends, "_", color=INK, ms=24, mew=1.6, label="at the end")
    panel.set_xticks(at, [*list(spans)[:-1], f"{story.home} (not corrected)"])
    panel.set_ylim(0, 1.08)
    panel.set_yticks(np.linspace(0, 1, 6))
    panel.grid(visible=False, axis="x")


def _draw_latency(panel: Any, story: Story) -> None:
    """Every answered request as a dot, and the percentiles of each few seconds."""
    trace = story.trace
    start = float(trace.started.min()) if len(trace) else 0.0
    asked = trace.started[trace.answered] - start
    panel.plot(asked, trace.latency_ms, ".", ms=2, color=BEFORE, alpha=0.6, zorder=1, rasterized=True)
    at, figures = _binned(asked, trace.latency_ms)
    for point, colour in (("p99", COLOURS[1]), ("p50", COLOURS[0])):
        panel.plot(at, [one[point] for one in figures], color=colour, lw=1.6, label=point, zorder=3)
    _mark_rebuilds(panel, story, start)
    panel.set_yscale("log")
    panel.set_ylim(top=panel.get_ylim()[1] * ROOM)
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_ylabel("milliseconds")
    panel.set_xlabel("seconds")
    panel.set_xlim(0, max(float(asked.max()) if len(asked) else 1.0, 1.0))
    panel.set_title("Latency of those who were only asking, all the while")
    panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0.2)


def _binned(asked: Floats, latency_ms: Floats) -> tuple[Floats, list[dict[str, float]]]:
    bins = (asked // BIN_S).astype(np.int64)
    present = np.unique(bins)
    return (present + 0.5) * BIN_S, [percentiles(latency_ms[bins == one], (50, 99)) for one in present]


def _mark_rebuilds(panel: Any, story: Story, start: float) -> None:
    label = "a release is made"
    for replay in story.replays:
        if rebuild := replay.rebuild:
            began, ended = story.lasted(rebuild)
            panel.axvspan(began - start, ended - start, color=LEARNING, zorder=0, label=label)
            label = "_"
            moment = rebuild.promotion.swapped if rebuild.promotion else rebuild.ended
            word, colour = _ending(rebuild)
            panel.axvline(moment - start, color=colour, lw=1.6, zorder=2)
            panel.annotate(
                f"release {rebuild.release} \n{word} ",
                (moment - start, 0.96),
                xycoords=panel.get_xaxis_transform(),
                color=colour,
                fontsize=9,
                ha="right",
                va="top",
            )


def keep(figure: Any, path: Path, **how: Any) -> None:
    """Write a figure as a PNG, whole or not at all, and let go of it."""
    part = path.with_suffix(".part.png")
    figure.savefig(part, **how)
    pyplot.close(figure)
    part.replace(path)
