"""A workshop on the tiny encoder: everything of the slow loop but the server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from perennial.config import HeadSettings, ServiceSettings, Settings, TrainingSettings
from perennial.jobs.learn import open_head
from perennial.jobs.live_head import LiveHead
from perennial.jobs.rebuild import rebuild
from perennial.jobs.workshop import Workshop, open_workshop, pipeline_of
from perennial.store_protocol import WORKER
from perennial.types import Example, FeedbackRow, Job, Lease, NewFeedback
from tiny import LABELS, TONED, spoken, tiny_examples, tiny_queries, tiny_spans, tiny_writer, wanting

SERVICE = "tone"
TONES = ("warm", "cold")
TONE = {
    "type": "object",
    "properties": {"tone": {"enum": [*TONES]}},
    "required": ["tone"],
    "additionalProperties": False,
}
"""A schema."""
TRAINING = TrainingSettings(
    epochs=16,
    batch_size=8,
    learning_rate=5e-3,
    trainable_layers=2,
    threads=1,
    precision="fp32",  # whatever the processor has: what is claimed of so small a network hangs on it
)
TEACH = ServiceSettings(
    build=TRAINING,
    rebuild=TRAINING,
    head=HeadSettings(ridge=1e-3),  # of 32 features, which texts of one domain all but share
    golden_margin=0.1,
    latency_ratio=1000.0,  # of a tiny network, and with other tests beside it, it would be chance
    golden_rows=100,
    validation_rows=60,
    watch_s=0,
)


TAUGHT_TAGS = TRAINING.model_copy(update={"learning_rate": 2e-3})
TAG = TEACH.model_copy(update={"build": TAUGHT_TAGS, "rebuild": TAUGHT_TAGS})
SEARCH = TAG
TASTED = TrainingSettings(
    learner="ader", epochs=12, batch_size=16, learning_rate=1e-2, trainable="full", balance=0.0
)
SUGGEST = TEACH.model_copy(
    update={
        "build": TASTED,
        "rebuild": TASTED,
        "explore": 0.0,
        "golden_margin": 0.3,  # which of 16 items of a tone comes next is a matter of luck
        "most_flips": 0.3,
    }
)


def workshop(folder: Path, service: ServiceSettings = TEACH) -> Workshop:
    settings = Settings(state=folder / "var", repository=folder / "repository", services={SERVICE: service})
    return open_workshop(settings)


def copied(source: Path, target: Path) -> Workshop:
    """The workshop of a folder that others share, to be changed."""
    shutil.copytree(source, target)
    return workshop(target)


def lease_of(shop: Workshop) -> Lease:
    lease = shop.store.acquire(WORKER, "test", 600)
    assert lease
    return lease


def run(shop: Workshop, job: Job) -> Job:
    lease = lease_of(shop)
    running = shop.store.next_job(lease)
    assert running and running.id == job.id
    done = rebuild(shop, running, lease)
    shop.store.release(lease)
    return done


def taught(shop: Workshop, rows: Sequence[Example]) -> LiveHead:
    """The head of release 1 once several users have said this."""
    bundle = shop.bundle(SERVICE, 1)
    live = open_head(shop, bundle)
    said = [
        FeedbackRow(SERVICE, row.text, row.label, f"user {n % 5}", row=n + 1) for n, row in enumerate(rows)
    ]
    live.take(said, live.described(said, pipeline_of(bundle).outputs([row.text for row in rows]), None))
    return live


def news(count: int) -> list[NewFeedback]:
    """Feedback of a new domain: days, whose tone is told by a word that the first release never saw."""
    tones = ("zzz", "mmm", "xxx")
    return [
        NewFeedback(SERVICE, f"day {number} it was {tones[number % 3]}", LABELS[number % 3])
        for number in range(count)
    ]


def build_first(encoder: Path, folder: Path) -> Path:
    """Make release 1 of the service in `folder`, and let it serve."""
    rows = ({"text": row.text, "label": row.label} for row in tiny_examples(600))
    return built(workshop(folder), folder, "classify", encoder, rows)


def build_tagger(encoder: Path, folder: Path) -> Path:
    """As `build_first`, of a service that finds the tone words."""
    rows = ({"text": row.text, "label": json.loads(row.label)} for row in tiny_spans(1500))
    return built(workshop(folder, TAG), folder, "tag", encoder, rows)


def build_writer(folder: Path) -> Path:
    """As `build_first`, of a service that generates, given as it is."""
    return built(workshop(folder), folder, "generate", tiny_writer(folder / "given"), [])


def build_searcher(encoder: Path, folder: Path) -> Path:
    """As `build_first`, of a service that finds documents of the tone of a text."""
    documents = folder / "documents.jsonl"
    lines = (json.dumps({"id": name, "text": text}) for name, text in TONED.items())
    documents.write_text("\n".join(lines))
    rows = ({"text": row.text, "label": json.loads(row.label)} for row in tiny_queries(600))
    return built(workshop(folder, SEARCH), folder, "embed", encoder, rows, documents=str(documents))


def build_recommender(encoder: Path, folder: Path) -> Path:
    """As `build_first`, of a service that knows users by the tone of what they take; from a log."""
    documents = folder / "documents.jsonl"
    lines = (json.dumps({"id": name, "text": text}) for name, text in TONED.items())
    documents.write_text("\n".join(lines))
    log = [
        {"user": f"user {user}", "item": f"{LABELS[user % 3]}/{(user + step) % 16}", "at": step}
        for user in range(90)
        for step in range(8)
    ]
    return built(workshop(folder, SUGGEST), folder, "recommend", encoder, log, documents=str(documents))


def news_that_wants(count: int) -> list[Example]:
    """News, which wants the documents of the tone that its new word has."""
    return [Example(row.text, wanting(f"{row.label}/")) for row in news(count)]


def news_with_spans(count: int) -> list[Example]:
    """News whose tone word is a span, unless it is a plain one."""
    names = {"zzz": "BAD", "mmm": "", "xxx": "GOOD"}
    words = [*names]
    return [spoken(number, word := words[number % 3], names[word]) for number in range(count)]


def built(
    shop: Workshop, folder: Path, task: str, start: Path, rows: Iterable[dict[str, Any]], **more: Any
) -> Path:
    """Have release 1 of these rows serve in the workshop of `folder`; of none, what `start` is."""
    data = folder / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    payload = {"task": task, "from": str(start), "data": str(data) if data.stat().st_size else ""} | more
    done = run(shop, shop.store.enqueue(SERVICE, "build", "test", payload))
    assert done.state == "kept", done.detail
    shop.store.close()
    return folder
