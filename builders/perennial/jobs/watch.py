"""The last step: the new release against the previous one on what users say now; if worse, a roll-back.

Both releases answer each text that feedback brought since the promotion, which neither has learned
(prequential); the server tells failures and p99 for each release.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from scipy.stats import binomtest

from perennial.errors import PerennialError
from perennial.jobs import release
from perennial.jobs.run import Result, Run
from perennial.jobs.workshop import pipeline_of
from perennial.pipeline import Pipeline
from perennial.server.control import Figures
from perennial.types import Bundle, Example

PERIOD_S = 1.0
PATIENCE_S = 150.0
"""How long a server may be away once the watch is over: to start again it has 120 s (`start_timeout_s`)."""
ALPHA = 0.01
"""Stricter than a gate's, since the watch looks again and again."""
MIN_REQUESTS, MAX_FAILURES = 100, 0.02
MAX_P99_RATIO, P99_FLOOR_US = 3.0, 50_000.0


def watch(run: Run) -> Result:
    promoted = run.job.steps["promote"]
    if run.base is None:
        return {"reason": "it is the first release"}
    if promoted["swap_ms"] is not None or promoted["figures_before"]:
        return _watch(run, run.base)
    if reason := _taken_back(run):
        return _end(run, run.base, reason)
    return {"reason": "no server runs"}


def _watch(run: Run, base: Bundle) -> Result:
    """Looks first and at the clock last: what came while it slept, or before a job went on, counts too."""
    promoted, bundle = run.job.steps["promote"], run.shop.bundle(run.job.service, run.job.release)
    rivals = Rivals(pipeline_of(bundle), pipeline_of(base))
    figures, newest = promoted["figures_before"], promoted["newest_row"]
    before = Figures(**figures) if figures else Figures(0, 0, None)
    ends_at = promoted["promoted_at"] + run.settings.watch_s
    gives_up_at = max(ends_at, time.time()) + PATIENCE_S
    while True:
        newest = _compare(run, rivals, newest)
        now = _figures(run)
        against = (rivals.worse() or unhealthy(now, before)) if now else _gone(gives_up_at)
        if reason := _taken_back(run) or against:
            return {**_end(run, base, reason, insist=now is None), **rivals.figures}
        if now and time.time() >= ends_at:
            return {"reason": rivals.summary, **rivals.figures}
        message = rivals.summary if now else "waiting for the server"
        run.report("watch", time.time() - promoted["promoted_at"], run.settings.watch_s, message)
        time.sleep(PERIOD_S)


def _compare(run: Run, rivals: Rivals, after_row: int) -> int:
    """Have the rivals answer the texts that came behind `after_row`; the last row of those."""
    rows = run.shop.store.feedback(run.job.service, after_row)
    rivals.compare([Example(row.text, row.label) for row in rows])
    return rows[-1].row if rows else after_row


def _figures(run: Run) -> Figures | None:
    """What the server says of the new release; None while it is away, or does not know the release yet.

    Found anew at each look, for a server that was started again may have other ports.
    """
    with contextlib.suppress(PerennialError):
        return run.shop.figures(run.job.service, run.job.release)
    return None


def _gone(gives_up_at: float) -> str:
    """Why the release must go where its server does not come back: it may be what took that down."""
    if time.time() < gives_up_at:
        return ""
    return f"the server does not answer, {PATIENCE_S:.0f} s after the watch"


def _taken_back(run: Run) -> str:
    """Why a release that does not serve any more must not be kept; empty where it serves."""
    serving = run.shop.publisher.serving(run.job.service)
    return "" if serving == run.job.release else f"it was taken back: release {serving} serves"


def _end(run: Run, base: Bundle, reason: str, insist: bool = False) -> Result:
    """The release goes, if a person or a try that was killed has not taken it out of service already."""
    release.take_back(run.shop, run.job.service, run.job.release, base.release, insist)
    return {"outcome": "fail", "reason": reason}


@dataclass
class Rivals:
    """Two releases answering the same texts: how often only one of them was right."""

    new: Pipeline
    old: Pipeline
    rows: int = 0
    only_new: int = 0
    only_old: int = 0

    def compare(self, examples: list[Example]) -> None:
        if not examples:
            return
        texts = [example.text for example in examples]
        new, old = (side.codec.score(side.answers(texts), examples).correct for side in (self.new, self.old))
        self.rows += len(examples)
        self.only_new += int((new > old).sum())
        self.only_old += int((new < old).sum())

    def worse(self) -> str:
        """Why the new release must go, by the sign test on the rows where just one was right; else empty."""
        differing = self.only_new + self.only_old
        if not differing or binomtest(self.only_old, differing, 0.5, alternative="greater").pvalue > ALPHA:
            return ""
        return f"worse on new feedback: {self.summary}"

    @property
    def summary(self) -> str:
        return f"{self.rows} new rows; only new right {self.only_new}, only old right {self.only_old}"

    @property
    def figures(self) -> dict[str, int]:
        return {"rows": self.rows, "only_new_right": self.only_new, "only_old_right": self.only_old}


def unhealthy(now: Figures, before: Figures) -> str:
    """Why the server's own figures say that the release must go; else empty.

    Failures are also what users ask wrongly and what a full queue turns away, whichever release serves. So
    their share must be surely, by the binomial test, more than `MAX_FAILURES` above the former release's.
    """
    if now.asked < MIN_REQUESTS:
        return ""
    usual = before.failed / max(before.asked, MIN_REQUESTS)  # of few requests no share can be told
    allowed = min(1.0, usual + MAX_FAILURES)
    if binomtest(now.failed, now.asked, allowed, alternative="greater").pvalue <= ALPHA:
        return f"{now.failed} of {now.asked} requests failed, {usual:.1%} did before the promotion"
    if now.p99_us and before.p99_us and now.p99_us > max(MAX_P99_RATIO * before.p99_us, P99_FLOOR_US):
        return f"p99 is {now.p99_us / 1e3:.0f} ms, before the promotion it was {before.p99_us / 1e3:.0f} ms"
    return ""
