"""A release's way into service and out of it: publish, promote, roll back, retire.

One process at a time changes the repository (`state.lock`); the server is told after its files are whole.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import asdict
from typing import Any

from perennial.errors import Broken, Conflict, NotFound, PerennialError, Unavailable
from perennial.jobs import learn
from perennial.jobs.bundle import assemble
from perennial.jobs.run import Refused, Result, Run
from perennial.jobs.workshop import Workshop
from perennial.repository.layout import (
    LLM,
    ensemble_model,
    ensemble_models,
    other_stage_models,
    stage_model,
    stage_models,
    timed_model,
    verify_bundle,
)
from perennial.server import memory
from perennial.types import Bundle, ServiceRecord

LOCK = "repository"


def publish(run: Run) -> Result:
    """Assemble the bundle, put it beside the serving release, and have the server load its stages."""
    bundle = assemble(run)
    with run.shop.state.lock(LOCK):
        deploy(run.shop, bundle)
    return {"release": bundle.release}


def promote(run: Run) -> Result:
    """Into service, unless another release came into service since the gates judged."""
    service, previous = run.job.service, run.job.steps["snapshot"]["previous"]
    serving = run.shop.publisher.serving(service) or 0
    if serving not in (previous, run.job.release):
        take_back(run.shop, service, run.job.release, previous)  # it is published, but never served
        raise Refused(
            "refused", f"release {serving} was promoted meanwhile; the gates judged against {previous}"
        )
    _refuse_forgotten(run)
    learn.carry_over(run)
    # A try that was killed behind the switch left nothing to compare with: the former release is unloaded.
    figures = run.shop.figures(service, serving) if serving and serving == previous else None
    newest = run.shop.store.newest_row(service)
    switched = switch(run.shop, service, run.job.release)
    return {
        **switched,
        "promoted_at": time.time(),
        "newest_row": newest,
        "figures_before": figures and asdict(figures),
    }


def _refuse_forgotten(run: Run) -> None:
    """What was forgotten while a candidate learned it must not come into service by it."""
    service, snapshot = run.job.service, run.job.steps["snapshot"]
    if gone := run.shop.store.forgotten(service).intersection(snapshot["feedback_rows"]):
        take_back(run.shop, service, run.job.release, snapshot["previous"])
        raise Refused("cancelled", f"{len(gone)} rows that it learned were forgotten meanwhile")


def switch(shop: Workshop, service: str, release: int) -> dict[str, Any]:
    """Make `release` the serving one. Only the ensemble is loaded; if that fails the old one serves on."""
    with shop.state.lock(LOCK):
        switched = _serve_instead(shop, service, release)
        _tell_store(shop, service)
    return switched


def roll_back(shop: Workshop, service: str) -> dict[str, Any]:
    """Make the release that served before serve again, and free what the bad one learned for another attempt.

    The bad one leaves the repository as well, so that to roll back once more does not bring it back.
    """
    with shop.state.lock(LOCK):
        serving = shop.serving(service)
        if serving is None:
            raise NotFound(
                f"{service!r} has no serving release; `perennial build {service} --help` makes one"
            )
        switched = _serve_instead(shop, service, _before(shop, serving))
        shop.publisher.retire(service, serving.release)
        _tell_store(shop, service)
    return switched


def take_back(shop: Workshop, service: str, release: int, instead: int, insist: bool = False) -> None:
    """Out of service, if it is there, and out of the repository, so that no roll-back leads to it.

    To insist is to switch on disk, for the next start, even where the server does not answer.
    """
    with shop.state.lock(LOCK):
        if shop.publisher.serving(service) == release:
            _serve_instead(shop, service, instead, insist)
        shop.publisher.retire(service, release)
        _tell_store(shop, service)


def withdraw(shop: Workshop, service: str) -> None:
    """Take a service out of the server and the repository; its releases and its feedback stay, and `switch`
    brings it back. Idempotent."""
    if any(job.open for job in shop.store.jobs(service)):
        raise Conflict(
            f"a job of {service!r} is open; wait for its end (`perennial status`), and retire it then"
        )
    with shop.state.lock(LOCK), shop.control() as control:
        models = (*ensemble_models(service), *stage_models(shop.settings.repository, service))
        shop.publisher.withdraw(service)
        if control is not None:
            for model in models:
                control.unload(model)


def settle_rows(shop: Workshop, service: str) -> None:
    """Have the rows count as learned that what serves now has learned, and no others.

    Every switch does so. Done again it mends what a kill just after a switch left, and what a job that was
    open at the switch has settled since.
    """
    with shop.state.lock(LOCK):
        _tell_store(shop, service)


def deploy(shop: Workshop, bundle: Bundle) -> None:
    """Publish the bundle's files and load its stages; what does not load is taken out again."""
    verify_bundle(bundle)
    shop.publisher.publish(bundle, shop.placement(bundle.service))
    try:
        _load_stages(shop, bundle)
        _refuse_over_budget(shop, bundle)
    except PerennialError as error:
        serving = shop.serving(bundle.service)
        if serving and serving.release != bundle.release:
            shop.publisher.retire(bundle.service, bundle.release)
            _load_stages(shop, serving)  # else the failed version keeps the server from being ready
        raise Broken(f"release {bundle.release} of {bundle.service!r} does not load: {error}") from None


def retire_old(shop: Workshop, service: str) -> list[int]:
    """Delete the bundles beyond the last K, and what a kill left of one; none that is in the repository."""
    newest = {bundle.release for bundle in shop.bundles(service)[-shop.service(service).keep_releases :]}
    kept = newest.union(shop.publisher.versions(service))
    old = [release for release in shop.numbers(service) if release not in kept]
    for release in old:
        shutil.rmtree(shop.state.bundle(service, release))
    shop.store.drop_heads(service, kept)
    return old


def record_of(shop: Workshop, bundle: Bundle) -> ServiceRecord:
    """What the store tells the feedback model of this service."""
    settings = shop.service(bundle.service)
    return ServiceRecord(
        name=bundle.service,
        task=bundle.manifest["task"],
        labels=tuple(bundle.manifest["labels"]),
        max_text_bytes=settings.max_text_bytes,
        require_prediction_id=settings.require_prediction_id,
        unproven_trust=settings.unproven_trust,
        feedback_within_s=settings.feedback_within_s,
        trigger_count=settings.trigger_count,
        trigger_age_s=settings.trigger_age_s,
    )


def _serve_instead(shop: Workshop, service: str, release: int, insist: bool = False) -> dict[str, Any]:
    bundle = shop.bundle(service, release)
    before, published = shop.publisher.serving(service) or 0, shop.publisher.versions(service)
    if release not in published or release == before:
        # One that serves is put anew where it shall run otherwise. Triton starts that beside it and then lets
        # go of the old processes: 5,582 requests through six such loads, none failed, the slowest 0.4 s.
        deploy(shop, bundle)
    try:
        swap_ms = _point(shop, service, release, before, insist)
    except PerennialError:
        if release not in published and shop.publisher.serving(service) != release:
            shop.publisher.retire(service, release)  # it never served: no roll-back may lead to it
        raise
    return {"release": release, "previous": before, "swap_ms": swap_ms}


def _tell_store(shop: Workshop, service: str) -> None:
    """What serves, and so what counts as learned."""
    serving = shop.serving(service)
    if serving is not None:
        shop.store.put_service(record_of(shop, serving))
        shop.store.mark_learned(service, *_learned(shop, serving))


def _before(shop: Workshop, serving: Bundle) -> int:
    """The other release in the repository, which served before; a candidate of an open job is none.

    Where there is no other, the one that the serving release was made from.
    """
    service = serving.service
    candidates = {job.release for job in shop.store.jobs(service) if job.open}
    beside = set(shop.publisher.versions(service)) - candidates - {serving.release}
    previous: int = serving.manifest["lineage"]["previous"]
    for release in (*beside, previous):
        if release and shop.state.bundle(service, release).exists():
            return release
    raise NotFound(f"release {serving.release} of {service!r} has no previous release on disk to go back to")


def _point(shop: Workshop, service: str, release: int, before: int, insist: bool) -> float | None:
    """Point the ensemble and load it; milliseconds, or None where no server runs."""
    with shop.control() as control:
        began = time.perf_counter()
        shop.publisher.point(service, release)
        if control is None:
            return None
        try:
            control.load(ensemble_model(service))
            took = time.perf_counter() - began
            control.load(timed_model(service))
        except PerennialError as error:
            if insist and isinstance(error, Unavailable):
                return None
            if before:
                shop.publisher.point(service, before)
                for model in ensemble_models(service):
                    control.load(model)
            raise Broken(f"release {release} of {service!r} cannot serve: {error}") from None
        return round(took * 1e3, 2)


def _learned(shop: Workshop, serving: Bundle) -> tuple[dict[str, list[int]], int]:
    """The rows that a release and each of its ancestors learned, by their jobs; and the oldest of these
    releases where its own ancestors are gone from disk, else 0."""
    learned: dict[str, list[int]] = {}
    oldest, following = 0, serving.release
    with contextlib.suppress(NotFound, Broken):
        while following:
            manifest = shop.bundle(serving.service, following).manifest
            learned[manifest["job"]] = manifest["lineage"]["feedback_rows"]
            oldest, following = following, manifest["lineage"]["parent"]
    return learned, oldest if following else 0


def _load_stages(shop: Workshop, bundle: Bundle) -> None:
    with shop.control() as control:
        if control is None:
            return
        service, repository = bundle.service, shop.settings.repository
        models = stage_models(repository, service)
        if models[0] == stage_model(service, LLM):
            control.load(models[0])  # before its stage, which an ensemble brings with it, asks it
        if shop.publisher.serving(service):
            # After a crash the ensemble in memory may be older than its file, and need what is gone.
            for model in ensemble_models(service):
                control.load(model)
        for model in models:
            control.load(model)
            control.wait_ready(model, bundle.release)
        for model in other_stage_models(repository, service).intersection(control.models()):
            control.unload(model)


def _refuse_over_budget(shop: Workshop, bundle: Bundle) -> None:
    """Beside what it is to take over from, as it will be while they change places."""
    most = shop.settings.server.memory_mb
    if not most:
        return
    taken = shop.memory_mb()
    if sum(taken.values()) > most:
        own = memory.of_service(bundle.service, taken)
        raise Unavailable(
            f"with it tritonserver takes {sum(taken.values()):,.0f} MB ({own:,.0f} of them this service's "
            f"releases), and server.memory_mb is {most:,}; raise it, or `perennial retire` another service"
        )
