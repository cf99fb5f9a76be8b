"""Copies of releases that benches serve in a state of their own: they stand there without a history."""

from __future__ import annotations

from pathlib import Path

from flow.workshops import SERVICE, workshop
from perennial.jobs import data
from perennial.jobs.learn import Learner
from perennial.jobs.release import switch
from perennial.jobs.workshop import Workshop
from perennial.types import HeadOrders
from perennial_perf.benches._releases import copy_release


def test_a_release_that_learned_is_copied_as_if_it_were_the_first(taught: Workshop, tmp_path: Path) -> None:
    learned, elsewhere = taught.bundle(SERVICE, 2), workshop(tmp_path / "elsewhere")
    copy = copy_release(learned, elsewhere.state.bundle(SERVICE, 1), 1, previous=0)
    switch(elsewhere, SERVICE, 1)  # looks for all that its ancestors learned
    learner = Learner(elsewhere, copy, HeadOrders())
    elsewhere.store.close()
    assert copy.manifest["lineage"]["feedback_rows"] == [] and not learner.live.standing
    for name in ("memory", "golden", "validation"):
        theirs, ours = (data.read(one.folder / f"data/{name}.jsonl") for one in (learned, copy))
        assert [(row.text, row.label) for row in ours] == [(row.text, row.label) for row in theirs]
        assert not any(row.row for row in ours)
    assert any(row.row for row in data.read(learned.folder / "data/golden.jsonl")), (
        "the original keeps its own"
    )
