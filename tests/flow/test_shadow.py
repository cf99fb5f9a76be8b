"""What a candidate would have answered to texts that users asked, beside what serves."""

from __future__ import annotations

import json
from pathlib import Path

from flow.workshops import SERVICE, news, run
from perennial.jobs import shadow
from perennial.jobs.workshop import Workshop
from tiny import tiny_examples


def test_what_would_be_answered_otherwise_is_shown_and_can_be_forgotten(shop: Workshop) -> None:
    known, new = [row.text for row in tiny_examples(20)], [row.text for row in news(60)][30:]
    shop.store.add_requests(SERVICE, [*known, *new, new[0], "x" * 300], most=500)
    shop.store.add_feedback(news(400))
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert done.state == "kept", done.detail
    told = done.steps["shadow"]
    assert told["texts"] == 51, "each text once"
    assert 0.1 < told["differ"] < 0.9 and sum(told["changes"].values()) == round(51 * told["differ"])
    assert shop.bundle(SERVICE, 2).manifest["metrics"]["shadow"]["differ"] == told["differ"]
    place = Path(shadow.report_of(shop, SERVICE, 2) or "")
    assert f"{told['differ']:.1%} of 51 texts that users asked" in place.read_text()
    examples = json.loads(place.with_suffix(".json").read_text())["examples"]
    assert {"text", "old", "old_score", "new", "new_score"} == {*examples[0]}
    assert all(one["old"] != one["new"] and len(one["text"]) <= 201 for one in examples)
    assert any(one["text"] in new for one in examples)
    assert not [word for word in new if word in json.dumps(done.steps)], "texts stand in the report alone"
    assert shadow.forget(shop, SERVICE) == 52
    assert shadow.report_of(shop, SERVICE, 2) is None and shop.store.requests(SERVICE) == []
