"""The first step: fix what this job learns from, and what it will be judged on.

A text stands in one set only. Of fresh feedback a share is held out for the quality gate; in the release it
joins the golden set, so that what was learned stays guarded. The rest is learned, and then remembered. What
is said of a text that judges already corrects its label there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from perennial import memory
from perennial.engine_options import AUTO
from perennial.jobs import data, engines, given, votes
from perennial.jobs.bundle import refuse_bundle_of_another_job
from perennial.jobs.run import Refused, Result, Run
from perennial.jobs.workshop import trainable
from perennial.plugins import labels_of
from perennial.split import ENOUGH_ROWS, HELD_OUT, LEAST_TEXTS, Split, fingerprint, place, split
from perennial.types import Bundle, Example, FeedbackRow

GOLDEN, VALIDATION = 0.1, 0.1
"""Shares of a user's file; of a short one as many texts are golden as a gate needs."""
MOST_TEXTS = 10_000
"""That students learn from. What the teacher says of as many sentences of 30 tokens takes 230 MB of disk."""


def take(run: Run) -> Result:
    serving = run.shop.serving(run.job.service)
    refuse_bundle_of_another_job(run)  # now, for training would be in vain; so the next
    task = serving.manifest["task"] if serving else run.job.payload.get("task", "")
    _refuse_an_engine_that_is_not_here(run, engines.asked_for(run, serving), task)
    _refuse_trackers_that_are_not_here(run)
    if run.job.kind == "build":
        return _with_documents(run, serving, _from_file if run.job.payload["data"] else given.take)
    if serving is None:
        raise Refused("failed", f"{run.job.service} has no serving release to start from")
    if run.job.kind == "compress":
        if not hasattr(trainable(serving.manifest["task"]), "shallower"):
            reason = f"a service of the task {serving.manifest['task']} is not made smaller yet"
            raise Refused("failed", reason)
        return _for_students(run, serving)
    _refuse_labels_that_come_late(run, serving)
    _refuse_to_change_words(run, serving)
    return _with_documents(run, serving, _from_feedback)


def _refuse_an_engine_that_is_not_here(run: Run, name: str, task: str) -> None:
    """The gates run what the engine builds, so it must do both here."""
    options = run.settings.engine_options.get(name, {})
    if name != AUTO and (reason := engines.unusable(name, task, options)):
        raise Refused("failed", f"engine {name} makes no release here: {reason}")


def _refuse_trackers_that_are_not_here(run: Run) -> None:
    for tracker in {*run.settings.build.trackers, *run.settings.rebuild.trackers}:
        if find_spec(tracker) is None:
            reason = (
                f"tracker {tracker} is not installed; `pip install {tracker}`, or take it out of trackers"
            )
            raise Refused("failed", reason)


def _refuse_labels_that_come_late(run: Run, serving: Bundle) -> None:
    """Two releases of a service share the shapes of their tensors."""
    if late := [label for label in run.settings.labels if label not in serving.manifest["labels"]]:
        raise Refused(
            "failed",
            f"the settings name the labels {late}, which the serving release was not built with; take them "
            "out, or build a service of another name with them",
        )


def _refuse_to_change_words(run: Run, serving: Bundle) -> None:
    task, ways = serving.manifest["task"], run.settings.rebuild.augment
    if ways and labels_of(task).of_words:
        raise Refused(
            "failed",
            f"augment = {[*ways]} changes the words of texts, and labels of the task {task} stand in them; "
            "take it out of the service's rebuild",
        )


def _from_file(run: Run, base: Bundle | None) -> Result:
    """A build: the user's file, split into what is learned, validated and held as golden."""
    payload, settings = run.job.payload, run.settings
    task_labels = labels_of(payload["task"])
    examples = data.read_users_file(Path(payload["data"]), task_labels)
    seen = {name for example in examples for name in task_labels.names(example.label)}
    further = {*settings.labels, *payload.get("labels", ())} - seen
    labels = sorted(seen | further)
    if len({label.casefold() for label in labels}) < len(labels):
        return {"outcome": "fail", "reason": f"of the labels {labels} some differ by case alone; mend them"}
    if base and labels != base.manifest["labels"]:
        reason = (
            f"{payload['data']} has the labels {labels}, and the serving release {base.manifest['labels']}; "
            "make them the same, or build a service of another name"
        )
        return {"outcome": "fail", "reason": reason}
    parts = split(examples, validation=VALIDATION, held_out=max(GOLDEN, _share_of(LEAST_TEXTS, examples)))
    with run.fresh("snapshot") as folder:
        data.write(folder / "train.jsonl", parts.train)
        data.write(
            folder / "validation.jsonl", _drawn(parts.validation, settings.validation_rows, settings.seed)
        )
        data.write(folder / "golden.jsonl", _drawn(parts.held_out, settings.golden_rows, settings.seed))
    return {
        "base": base.release if base else 0,
        "previous": run.shop.publisher.serving(run.job.service) or 0,
        "task": payload["task"],
        "labels": labels,
        "further": sorted(further),
        "rows": len(examples),
        "feedback_rows": [],
        "data_sha256": data.digest(examples),
    }


def _from_feedback(run: Run, base: Bundle) -> Result:
    settings = run.settings
    rows = run.shop.store.claim(run.job, run.lease, settings.max_rows, settings.max_attempts)
    if not rows:
        return {"outcome": "fail", "reason": "there is no feedback that was not learned yet"}
    labels = labels_of(base.manifest["task"])
    heard = votes.said(rows, settings.source_trust, labels)
    heard, over_cap = votes.capped(heard, settings.source_cap, settings.seed)
    said = votes.agreed(heard, labels)
    golden, validation = (_corrected(base, name, said) for name in ("golden", "validation"))
    judging = {fingerprint(example.text) for example in (*golden, *validation)}
    fresh = [example for text, example in said.items() if text not in judging]
    parts = split(fresh, validation=VALIDATION, held_out=HELD_OUT)
    _refuse_too_few(parts, over_cap, more_may_come=len(rows) < settings.max_rows)
    with run.fresh("snapshot") as folder:
        data.write(folder / "train.jsonl", parts.train)
        data.write(folder / "old.jsonl", memory.written(data.read(base.folder / "data/memory.jsonl")))
        data.write(folder / "validation.jsonl", (*validation, *parts.validation))
        data.write(folder / "golden.jsonl", golden)
        data.write(folder / "fresh.jsonl", parts.held_out)
    return {
        "base": base.release,
        "previous": base.release,
        "task": base.manifest["task"],
        "labels": base.manifest["labels"],
        "rows": len(said),
        "sources": {
            "trust": settings.source_trust,
            "cap": settings.source_cap,
            "over_cap": over_cap,
        },
        "feedback_rows": [row.row for row in rows],
        "data_sha256": data.digest([*said.values()]),
    }


def _with_documents(run: Run, serving: Any, take: Callable[[Run, Any], Result]) -> Result:
    """A snapshot with the documents that the build was given, or that the serving release has and what
    changed since, and up to which change that is."""
    taken = take(run, serving)
    if taken.get("outcome") == "fail" or not labels_of(str(taken["task"])).of_documents:
        return taken
    until = run.shop.store.newest_document(run.job.service)
    if file := run.job.payload.get("documents"):
        documents = data.read_documents(Path(file))
    else:
        documents = data.documents_in(serving.folder / "data") if serving else {}
        since = serving.manifest.get("documents_until", 0) if serving else 0
        for change in run.shop.store.documents(run.job.service, since):
            documents.pop(change.name, None)
            if change.text is not None and change.number <= until:
                documents[change.name] = change.text
    data.write_documents(run.folder / "snapshot", documents)
    return {**taken, "documents_until": until}


def _for_students(run: Run, base: Bundle) -> Result:
    """A compression: no feedback is learned, so what judges and what is remembered stay as they are. `texts`
    are asked of the teacher alone; feedback that a gate may judge a later release by is not among them."""
    remembered, golden, validation = (
        data.read(base.folder / f"data/{name}.jsonl") for name in ("memory", "golden", "validation")
    )
    if not golden:
        reason = f"release {base.release} has no golden texts to judge students by; let feedback rebuild it"
        return {"outcome": "fail", "reason": reason}
    named, settings = run.job.payload["texts"], run.settings
    since = max(0, run.shop.store.newest_row(run.job.service) - settings.max_rows)
    feedback = [_example(row) for row in run.shop.store.feedback(run.job.service, since, settings.max_rows)]
    parts = split(feedback, validation=VALIDATION, held_out=HELD_OUT)
    own = data.read_texts(Path(named)) if named else []
    texts = {fingerprint(row.text): row for row in (*remembered, *parts.train, *own)}
    for row in (*golden, *validation):
        texts.pop(fingerprint(row.text), None)
    with run.fresh("snapshot") as folder:
        drawn = _drawn([*texts.values()], MOST_TEXTS, settings.seed)
        data.write(folder / "texts.jsonl", sorted(drawn, key=lambda row: len(row.text)))
        data.write(folder / "old.jsonl", remembered)
        data.write(folder / "golden.jsonl", golden)
        data.write(folder / "validation.jsonl", validation)
    return {
        "base": base.release,
        "previous": base.release,
        "task": base.manifest["task"],
        "labels": base.manifest["labels"],
        "rows": len(drawn),
        "feedback_rows": [],
        "data_sha256": data.digest(drawn),
    }


def _drawn(rows: list[Example], count: int, seed: int) -> list[Example]:
    """In random order: a file is often sorted, and its beginning is not like its end."""
    return Random(seed).sample(rows, min(count, len(rows)))


def _share_of(count: int, examples: Sequence[Example]) -> float:
    """The share that holds out so many of the texts, which are different ones."""
    return sorted(place(example.text) for example in examples)[count]


def _refuse_too_few(parts: Split, over_cap: Mapping[str, int], more_may_come: bool) -> None:
    """Before training, and without counting it as an attempt. It counts where the claim is full: its rows
    would stand in the way of all behind them for ever."""
    judging, learned = len(parts.held_out), len(parts.train)
    if min(judging, learned) < LEAST_TEXTS:
        raise Refused(
            "cancelled" if more_may_come else "refused",
            f"{judging} texts to judge by and {learned} to learn from, where each takes {LEAST_TEXTS}; "
            f"feedback on {ENOUGH_ROWS} different texts is enough"
            + (f"; source_cap left out {sum(over_cap.values())} rows" if over_cap else ""),
        )


def _example(row: FeedbackRow) -> Example:
    return Example(row.text, row.label, row.trust, row.source, row.row)


def _corrected(base: Bundle, name: str, said: Mapping[bytes, Example]) -> list[Example]:
    """A set that judges, by the latest labels: a correction of its texts is not learned, but judges.

    One that is not fully trusted changes nothing: whoever guesses a text must not move the goal.
    """
    examples = data.read(base.folder / f"data/{name}.jsonl")
    trusted = {text: example for text, example in said.items() if example.weight >= 1.0}
    return [trusted.get(fingerprint(example.text), example) for example in examples]
