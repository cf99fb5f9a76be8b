"""Makes rows of feedback gone: from the store, from every head, and from what releases remember of them.

What a network learned of them stays in its weights until the next rebuild, which leaves them out; which
releases that concerns is told. Done again it mends what a kill left half done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from perennial.errors import PerennialError
from perennial.jobs import data, said
from perennial.jobs.live_head import ANCHORS, JUDGES, WATCHERS
from perennial.jobs.release import LOCK
from perennial.jobs.workshop import Workshop
from perennial.repository.layout import write_manifest
from perennial.types import Bundle, Example

SETS = (ANCHORS, JUDGES, WATCHERS)
DAY_S, LOOK_EVERY_S = 86_400.0, 3600.0

log = logging.getLogger(__name__)


class Retention:
    """Forgets what is older than its service keeps it (`keep_feedback_days`), when asked, once an hour."""

    def __init__(self, shop: Workshop, now: Callable[[], float] = time.time) -> None:
        self._shop, self._now = shop, now
        self._looked_at = float("-inf")

    def apply(self) -> None:
        now = self._now()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        for service in self._shop.store.services():
            if days := self._shop.service(service).keep_feedback_days:
                self._forget(service, now - days * DAY_S)

    def _forget(self, service: str, before: float) -> None:
        """What is left half done where it fails is mended when the worker starts, or next time."""
        try:
            gone = self._shop.store.forget(service, before=before)
            if gone:
                scrub(self._shop, service)
                log.info("forgot %d rows of %s, which it keeps no longer", len(gone), service)
        except PerennialError as error:
            log.warning("could not forget the old feedback of %s: %s", service, error)


def forget(
    shop: Workshop,
    service: str,
    rows: Sequence[int] | None = None,
    source: str | None = None,
    before: float | None = None,
) -> dict[str, Any]:
    """Forget these rows, all of a source, and all that came `before` (epoch seconds); what was forgotten, and
    which releases were trained on it."""
    gone = shop.store.forget(service, rows, source, before)
    scrub(shop, service)
    asked = {*gone, *(rows or ())}
    trained = [
        bundle.release
        for bundle in shop.bundles(service)
        if asked.intersection(bundle.manifest["lineage"]["feedback_rows"])
    ]
    return {"rows": gone, "releases_trained_on_them": trained}


def scrub(shop: Workshop, service: str) -> None:
    """Take all that was ever forgotten out of the releases and the jobs on disk."""
    gone = shop.store.forgotten(service)
    if not gone:
        return
    with shop.state.lock(LOCK):
        for bundle in shop.bundles(service):
            _scrub_bundle(bundle, gone, shop.state.folder("staging"))
    for job in shop.store.jobs(service, limit=1000):
        for path in (shop.state.root / "jobs" / job.id).glob("snapshot/*.jsonl"):
            examples = data.read(path)
            kept = [example for example in examples if example.row not in gone]
            if len(kept) < len(examples):
                _keep_examples(path, kept, shop.state.folder("staging") / f"{job.id}-{path.name}")


def _scrub_bundle(bundle: Bundle, gone: Collection[int], staging: Path) -> None:
    """Its sets first, each whole, and then the manifest that vouches for them and says what they lack: one
    that does not yet say so is scrubbed again."""
    if bundle.manifest.get("forgotten", []) == sorted(gone):
        return
    for name in SETS:
        path = bundle.folder / f"data/{name}.jsonl"
        examples = data.read(path)
        kept = [place for place, example in enumerate(examples) if example.row not in gone]
        if len(kept) < len(examples):
            part = staging / f"{bundle.service}-{bundle.release}-{name}"
            _keep_arrays(path.with_suffix(".npz"), kept, part.with_suffix(".npz"))
            _keep_examples(path, [examples[place] for place in kept], part)
    manifest = {key: value for key, value in bundle.manifest.items() if key != "files"}
    write_manifest(bundle.folder, {**manifest, "forgotten": sorted(gone)})


def _keep_arrays(path: Path, kept: Sequence[int], part: Path) -> None:
    """These rows alone; first of a set's two files, so that a kill between them shows in their lengths."""
    if path.exists() and said.count(path) > len(kept):
        said.keep(path, kept, part)
        part.replace(path)


def _keep_examples(path: Path, examples: Sequence[Example], part: Path) -> None:
    data.write(part, examples)
    part.replace(path)
