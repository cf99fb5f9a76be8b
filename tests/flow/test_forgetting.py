"""Forgetting: rows are gone from the store, from releases and from jobs, also after a kill."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flow.workshops import SERVICE, TEACH, news, run, workshop
from perennial.jobs import forget as forgetting
from perennial.jobs.forget import Retention
from perennial.jobs.workshop import Workshop
from perennial.repository.layout import verify_bundle
from perennial.types import ServiceRecord
from tiny import LABELS


def texts_on_disk(shop: Workshop) -> str:
    folder = shop.settings.state
    return "".join(path.read_text() for path in (*folder.rglob("*.jsonl"), *folder.rglob("warmup.json")))


def test_rows_are_gone_everywhere_and_the_releases_they_taught_are_named(taught: Workshop) -> None:
    assert '"day 7 it was' in texts_on_disk(taught)
    done = forgetting.forget(taught, SERVICE, rows=[8, 9])
    assert done == {"rows": [8, 9], "releases_trained_on_them": [2]}
    assert '"day 7 it was' not in texts_on_disk(taught) and '"day 8 it was' not in texts_on_disk(taught)
    assert '"day 9 it was' in texts_on_disk(taught)
    for bundle in taught.bundles(SERVICE):
        verify_bundle(bundle)
        assert bundle.manifest["forgotten"] == [8, 9]
    again = forgetting.forget(taught, SERVICE, rows=[8, 9])
    assert again == {"rows": [], "releases_trained_on_them": [2]}


def test_what_is_older_than_its_service_keeps_it_is_forgotten_once_an_hour(tmp_path: Path) -> None:
    now = [time.time()]
    shop = workshop(tmp_path, TEACH.model_copy(update={"keep_feedback_days": 2.0}))
    shop.store.put_service(ServiceRecord(SERVICE, "classify", LABELS))
    retention = Retention(shop, lambda: now[0])

    def left(after_days: float) -> int:
        now[0] = time.time() + after_days * 86_400
        retention.apply()
        return len(shop.store.feedback(SERVICE))

    shop.store.add_feedback(news(3))
    assert [left(1.9), left(1.91), left(2.03)] == [3, 3, 0]
    shop.store.add_feedback(news(3))
    assert left(2.04) == 3, "an hour has not gone by"
    assert left(2.08) == 0


def test_what_a_kill_left_half_forgotten_is_mended(taught: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(forgetting, "write_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            forgetting.forget(taught, SERVICE, rows=[8])
    forgetting.scrub(taught, SERVICE)  # the worker does so when it starts
    assert '"day 7 it was' not in texts_on_disk(taught)
    for bundle in taught.bundles(SERVICE):
        verify_bundle(bundle)


def test_a_candidate_that_learned_what_was_forgotten_meanwhile_does_not_serve(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.jobs import candidate

    shop.store.add_feedback(news(400))
    judge = candidate.judge_latency

    def judge_and_forget(run: object) -> object:
        forgetting.forget(shop, SERVICE, rows=[5])
        return judge(run)  # type: ignore[arg-type]

    monkeypatch.setattr(candidate, "judge_latency", judge_and_forget)
    done = run(shop, shop.store.enqueue(SERVICE, "rebuild", "test", {}))
    assert (done.state, shop.publisher.serving(SERVICE)) == ("cancelled", 1)
    assert "1 rows that it learned were forgotten meanwhile" in done.detail
    assert shop.store.backlog(SERVICE, 3).fresh == 399
