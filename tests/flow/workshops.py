"""A workshop on the tiny encoder: everything of the slow loop but the server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from perennial.config import HeadSettings, ServiceSettings, Settings, TrainingSettings
from perennial.jobs.rebuild import rebuild
from perennial.jobs.workshop import Workshop, open_workshop
from perennial.store_protocol import WORKER
from perennial.types import Job, Lease, NewFeedback
from tiny import LABELS, tiny_examples

SERVICE = "tone"
TRAINING = TrainingSettings(epochs=16, batch_size=8, learning_rate=5e-3, trainable_layers=2, threads=1)
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


def workshop(folder: Path) -> Workshop:
    settings = Settings(state=folder / "var", repository=folder / "repository", services={SERVICE: TEACH})
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


def news(count: int) -> list[NewFeedback]:
    """Feedback of a new domain: days, whose tone is told by a word that the first release never saw."""
    tones = ("zzz", "mmm", "xxx")
    return [
        NewFeedback(SERVICE, f"day {number} it was {tones[number % 3]}", LABELS[number % 3])
        for number in range(count)
    ]


def build_first(encoder: Path, folder: Path) -> Path:
    """Make release 1 of the service in `folder`, and let it serve."""
    data = folder / "data.jsonl"
    rows = (json.dumps({"text": row.text, "label": row.label}) for row in tiny_examples(600))
    data.write_text("\n".join(rows))
    shop = workshop(folder)
    payload = {"task": "classify", "from": str(encoder), "data": str(data)}
    done = run(shop, shop.store.enqueue(SERVICE, "build", "test", payload))
    assert done.state == "kept", done.detail
    shop.store.close()
    return folder
