"""What a training may be asked for beside learning, on the way from feedback to the gates."""

from __future__ import annotations

import json
from dataclasses import replace

from flow.workshops import SERVICE, TEACH, TRAINING, lease_of, news
from perennial.jobs import candidate, data, snapshot
from perennial.jobs.run import MISTAKES, Run
from perennial.jobs.workshop import Workshop
from tiny import LABELS

HOW = TRAINING.model_copy(
    update={
        "learner": "derpp",
        "trainable": "lora",
        "epochs": 2,
        "noise_filter": True,
        "augment": ("word-dropout",),
        "interpolate": 0.5,
    }
)


def test_mistakes_are_not_learned_and_every_candidate_is_reported(shop: Workshop) -> None:
    settings = shop.settings.model_copy(
        update={"services": {SERVICE: TEACH.model_copy(update={"rebuild": HOW})}}
    )
    said = news(300)
    flipped = {said[number].text for number in range(0, 300, 10)}
    shop.store.add_feedback([replace(row, label=LABELS[0]) if row.text in flipped else row for row in said])
    lease = lease_of(shop)
    shop.store.enqueue(SERVICE, "rebuild", "test", {}, shop.unused_release(SERVICE))
    job = shop.store.next_job(lease)
    assert job
    run = Run(replace(shop, settings=settings), job, lease)
    run.step("snapshot", snapshot.take)
    run.step("train", candidate.train)
    candidate.judge_quality(run)

    trained, mistakes = run.job.steps["train"], data.read(run.folder / "train" / MISTAKES)
    fresh = run.read("train")
    assert mistakes and set(mistakes) < set(fresh)
    assert run.learned() == [row for row in fresh if row not in mistakes]
    assert trained["learned"] == len(run.learned())
    assert trained["report"]["interpolated"] == 0.5
    assert trained["options"]["trainable"] == "lora"
    named = shop.state.folder("reports") / f"{SERVICE}-{job.release}.json"
    told = json.loads(named.read_text())
    assert {name: sum(map(sum, of["confusion"])) for name, of in told.items()} == {
        name: len(run.read(name)) for name in ("golden", "fresh")
    }
    assert named.with_suffix(".txt").is_file() and named.with_suffix(".png").is_file()
