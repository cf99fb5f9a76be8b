"""What a candidate would have answered to texts that users asked of late, beside what serves: nobody was told
what is right there, so nothing is judged, and a person may read what would change."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from perennial.jobs.live_head import in_force
from perennial.jobs.run import Result, Run
from perennial.jobs.workshop import Workshop, pipeline_of
from perennial.pipeline import Pipeline

EXAMPLES = 50
LONGEST = 200
"""Characters of a text that a report shows."""
TOGETHER = 32


class Change(NamedTuple):
    text: str
    old: str
    old_score: float
    new: str
    new_score: float


def compare(run: Run, candidate: Pipeline) -> Result:
    """The share of answers that differ, how scores moved where they do not, and from what to what; the texts
    themselves stand in the report alone."""
    texts = [*dict.fromkeys(run.shop.store.requests(run.job.service))]
    if run.base is None or not texts:
        return {"texts": 0}
    serving = pipeline_of(run.base)
    serving.codec.take_head(in_force(run.shop, run.base, serving.codec))
    told = zip(texts, _told(run, serving, texts, 0), _told(run, candidate, texts, len(texts)), strict=True)
    answers = [Change(text, *old, *new) for text, old, new in told]
    changes = sorted(
        (one for one in answers if one.old != one.new), key=lambda one: -min(one.old_score, one.new_score)
    )
    same = [abs(one.new_score - one.old_score) for one in answers if one.old == one.new]
    result = {
        "texts": len(texts),
        "differ": round(len(changes) / len(texts), 4),
        "score_moved": round(sum(same) / len(same), 4) if same else 0.0,
        "changes": dict(Counter(f"{one.old} → {one.new}" for one in changes).most_common(20)),
    }
    _write(_place(run.shop, run.job.service, run.job.release), result, changes[:EXAMPLES])
    return result


def report_of(shop: Workshop, service: str, release: int) -> str | None:
    """Where a person reads what a release would have changed, if it was compared."""
    path = _place(shop, service, release).with_suffix(".txt")
    return str(path) if path.is_file() else None


def forget(shop: Workshop, service: str) -> int:
    """Delete the texts that were kept of requests, and the reports that show some; how many there were."""
    gone = shop.store.forget_requests(service)
    for path in _folder(shop, service).iterdir():
        path.unlink()
    return gone


def _told(run: Run, pipeline: Pipeline, texts: list[str], before: int) -> list[tuple[str, float]]:
    said, rest = list[tuple[str, float]](), iter(texts)
    while some := [*islice(rest, TOGETHER)]:
        told = pipeline.codec.told(pipeline.answers(some))
        said += [(label or "(abstains)", score) for label, score in told]
        run.report("shadow", before + len(said), 2 * len(texts), f"{len(texts)} texts, old and new")
    return said


def _write(path: Path, result: Result, changes: list[Change]) -> None:
    shown = [one._replace(text=_short(one.text)) for one in changes]
    told: dict[str, Any] = {**result, "examples": [one._asdict() for one in shown]}
    path.with_suffix(".json").write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    lines = [
        f"{result['differ']:.1%} of {result['texts']} texts that users asked would be answered otherwise; "
        f"where not, scores move by {result['score_moved']:.3f}",
        *(f"{count:6d}  {change}" for change, count in result["changes"].items()),
        "",
        *(f"{one.old} {one.old_score:.2f} → {one.new} {one.new_score:.2f}  {one.text}" for one in shown),
    ]
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _place(shop: Workshop, service: str, release: int) -> Path:
    """Without a suffix."""
    return _folder(shop, service) / str(release)


def _folder(shop: Workshop, service: str) -> Path:
    return shop.state.folder("reports", "shadow", service)
