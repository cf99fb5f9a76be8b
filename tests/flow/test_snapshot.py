"""What a job learns from and is judged on, and what it refuses before it trains."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flow.workshops import SERVICE, TEACH, lease_of, news, workshop
from perennial.errors import Broken
from perennial.jobs import data, snapshot
from perennial.jobs.data import MIN_ROWS
from perennial.jobs.release import record_of
from perennial.jobs.run import Refused, Run
from perennial.jobs.workshop import Workshop, known_service
from perennial.stores import open_store
from perennial.types import Job, NewFeedback
from tiny import LABELS, tiny_examples


def begin(shop: Workshop, job: Job | None = None) -> Run:
    """The job, or a rebuild of the service, under way."""
    lease = lease_of(shop)
    job = job or shop.store.enqueue(SERVICE, "rebuild", "test", {}, shop.unused_release(SERVICE))
    assert shop.store.next_job(lease)
    return Run(shop, shop.store.job(job.id), lease)


def test_a_number_that_a_release_of_another_store_has_is_refused(shop: Workshop, tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'new.db'}")) as store:
        new = replace(shop, store=store)
        store.put_service(record_of(new, known_service(new, SERVICE)))
        store.add_feedback(news(300))
        run = begin(new, store.enqueue(SERVICE, "rebuild", "the trigger, which sees no bundles", {}))
        assert run.job.release == 1
        with pytest.raises(Broken, match=r"another job .* `perennial rebuild tone` takes a number above"):
            snapshot.take(run)
        assert store.backlog(SERVICE, 3).fresh == 300


def test_a_correction_of_a_text_that_judges_judges_and_is_not_learned(shop: Workshop) -> None:
    folder = shop.bundle(SERVICE, 1).folder / "data"
    texts = {name: data.read(folder / f"{name}.jsonl")[0].text for name in ("golden", "validation")}
    said = [NewFeedback(SERVICE, text.upper(), label) for text in texts.values() for label in LABELS[:2]]
    doubted = NewFeedback(SERVICE, data.read(folder / "golden.jsonl")[1].text, "nonsense", trust=0.5)
    shop.store.add_feedback([*news(300), *said, doubted])
    run = begin(shop)
    taken = snapshot.take(run)
    assert (taken["rows"], len(taken["feedback_rows"])) == (303, 305)
    for name, text in texts.items():
        before, now = data.read(folder / f"{name}.jsonl"), run.read(name)
        assert (now[0].text, now[0].label) == (text.upper(), LABELS[1]), "what was said last"
        assert now[1 : len(before)] == before[1:]
    others = [example.text for name in ("train", "fresh") for example in run.read(name)]
    assert not {text.upper() for text in texts.values()}.intersection(others)


def test_a_flood_is_cut_to_its_share_of_what_is_learned_and_recorded(shop: Workshop) -> None:
    careful = TEACH.model_copy(update={"source_cap": 0.3, "source_trust": {"user 1": 0.5}})
    settings = shop.settings.model_copy(update={"services": {SERVICE: careful}})
    sources = [*(f"user {number % 10}" for number in range(300)), *["flood"] * 300]
    said = [replace(row, source=source) for row, source in zip(news(600), sources, strict=True)]
    shop.store.add_feedback(said)
    run = begin(replace(shop, settings=settings))
    taken = snapshot.take(run)
    assert (taken["rows"], len(taken["feedback_rows"])) == (428, 600)
    assert taken["sources"] == {"trust": {"user 1": 0.5}, "cap": 0.3, "over_cap": {"flood": 172}}
    learned = [example for name in ("train", "validation", "fresh") for example in run.read(name)]
    assert sum(example.source == "flood" for example in learned) == 128
    assert {example.weight for example in learned if example.source == "user 1"} == {0.5}


@pytest.mark.parametrize("count", [MIN_ROWS, 150, 300, 2000])
def test_a_short_file_holds_out_as_many_texts_as_a_gate_needs(count: int, tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    data.write(tmp_path / "data.jsonl", tiny_examples(count))
    with closing(shop.store):
        payload = {"task": "classify", "from": "unused", "data": str(tmp_path / "data.jsonl")}
        run = begin(shop, shop.store.enqueue(SERVICE, "build", "test", payload))
        assert snapshot.take(run)["rows"] == count
    sizes = {name: len(run.read(name)) for name in ("golden", "validation", "train")}
    assert sizes["golden"] == 30 if count < 300 else sizes["golden"] >= 30
    assert sizes["validation"] and sizes["train"] > count / 2


def with_labels(shop: Workshop, *labels: str) -> Workshop:
    settings = shop.settings.model_copy(
        update={"services": {SERVICE: TEACH.model_copy(update={"labels": labels})}}
    )
    return replace(shop, settings=settings)


def test_a_first_build_takes_labels_that_no_text_has(tmp_path: Path) -> None:
    shop = with_labels(workshop(tmp_path), "mixed")
    data.write(tmp_path / "data.jsonl", tiny_examples(150))
    with closing(shop.store):
        payload = {"task": "classify", "data": str(tmp_path / "data.jsonl"), "labels": ["joke", LABELS[0]]}
        taken = snapshot.take(begin(shop, shop.store.enqueue(SERVICE, "build", "test", payload)))
    assert taken["labels"] == ["joke", "mixed", *LABELS]
    assert taken["further"] == ["joke", "mixed"]


def test_labels_that_differ_by_case_alone_are_refused(tmp_path: Path) -> None:
    shop = with_labels(workshop(tmp_path), LABELS[0].title())
    data.write(tmp_path / "data.jsonl", tiny_examples(150))
    with closing(shop.store):
        payload = {"task": "classify", "data": str(tmp_path / "data.jsonl")}
        taken = snapshot.take(begin(shop, shop.store.enqueue(SERVICE, "build", "test", payload)))
    assert "differ by case alone" in taken["reason"]


def test_a_label_that_comes_after_a_service_began_is_refused_with_the_way_out(shop: Workshop) -> None:
    shop.store.add_feedback(news(300))
    run = begin(with_labels(shop, LABELS[0], "mixed"))
    with pytest.raises(Refused, match=r"name the labels \['mixed'\].* build a service of another name"):
        snapshot.take(run)
    assert shop.store.backlog(SERVICE, 3).fresh == 300


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_learned(shop: Workshop) -> None:
    shop.store.add_feedback(news(300))
    watched = TEACH.model_copy(update={"rebuild": TEACH.rebuild.model_copy(update={"trackers": ("mlflow",)})})
    settings = shop.settings.model_copy(update={"services": {SERVICE: watched}})
    with pytest.raises(
        Refused, match=r"tracker mlflow is not installed; `pip install mlflow`, or take it out"
    ):
        snapshot.take(begin(replace(shop, settings=settings)))
    assert shop.store.backlog(SERVICE, 3).fresh == 300
