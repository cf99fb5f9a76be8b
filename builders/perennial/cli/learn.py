"""`rebuild`, `releases`, `promote`, `rollback`, `retire`: how a service learns, and is undone."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from perennial.cli.follow import PERIOD_S, following
from perennial.cli.output import Json, console, print_json, say, settings_of, table
from perennial.errors import Conflict
from perennial.jobs import confusion, shadow
from perennial.jobs import release as releases_of
from perennial.jobs.worker import Worker
from perennial.jobs.workshop import Workshop, known_releases, known_service, open_workshop
from perennial.types import Job

Service = Annotated[str, typer.Argument(help="The service's name.")]


def register(app: typer.Typer) -> None:
    for command in (rebuild, releases, promote, rollback, retire):
        app.command()(command)


def enqueue_as_asked(shop: Workshop, service: str, kind: str, reason: str, payload: dict[str, Any]) -> Job:
    """The open job that was asked for in the same way, to be gone on with, else a new one in its place."""
    enqueue = partial(shop.store.enqueue, service, kind, reason, payload)
    job = enqueue(shop.unused_release(service))
    if job.payload == payload:
        return job
    _cancel(shop, job)
    return enqueue(shop.unused_release(service))


def _cancel(shop: Workshop, job: Job) -> None:
    worker = Worker(shop)
    lease = worker.acquire()
    if lease is None:
        raise Conflict(
            f"job {job.id} is another {job.kind} of {job.service!r}, and a worker runs; "
            "wait for the job's end (`perennial status`) or stop the worker, and ask again"
        )
    try:
        worker.abandon(job, lease, "cancelled", "another was asked for")
    finally:
        shop.store.release(lease)


def rebuild(
    context: typer.Context,
    service: Service,
    now: Annotated[
        bool, typer.Option("--now", help="Wait for it; run it here where no worker does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Learn the feedback that no release has learned. Exit code 1 if the candidate is refused."""
    shop = open_workshop(settings_of(context))
    known_service(shop, service)
    job = shop.store.enqueue(service, "rebuild", "asked", {}, shop.unused_release(service))
    if now:
        finish(shop, job, as_json)
    elif as_json:
        print_json({"job": job.id, "state": job.state, "release": job.release})
    else:
        say(f"job {job.id} is {job.state}; `perennial status` shows it")


def finish(shop: Workshop, job: Job, as_json: bool) -> None:
    """Run the job to its end and say how it ended; exit code 1 unless its release is kept."""
    run_here_or_follow(shop, job, quiet=as_json)
    done = shop.store.job(job.id)
    if as_json:
        print_json(described(done))
    else:
        say(f"release {done.release} of {done.service}: {': '.join(filter(None, (done.state, done.detail)))}")
    if done.state != "kept":
        raise typer.Exit(1)


def run_here_or_follow(shop: Workshop, job: Job, quiet: bool) -> None:
    """Until the job is settled: this process is the worker as soon as no other one holds the lease."""
    worker = Worker(shop)
    with following(shop, job, quiet):
        while shop.store.job(job.id).open:
            if lease := worker.acquire():
                worker.run_until(job, lease)
            else:
                time.sleep(PERIOD_S)


def described(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "service": job.service,
        "kind": job.kind,
        "state": job.state,
        "release": job.release,
        "reason": job.reason,
        "detail": job.detail,
        "steps": job.steps,
    }


def releases(context: typer.Context, service: Service, as_json: Json = False) -> None:
    """List a service's releases on disk, what they learned and how they were judged."""
    shop = open_workshop(settings_of(context))
    known_service(shop, service)
    serving, loaded = shop.publisher.serving(service), shop.publisher.versions(service)
    rows = []
    for bundle in shop.bundles(service):
        manifest = bundle.manifest
        rows.append(
            {
                "release": bundle.release,
                "state": _state(bundle.release, serving, loaded),
                "created_at": manifest["created_at"],
                "engine": f"{manifest['engine']} {manifest['precision']}",
                "previous": manifest["lineage"]["previous"],
                "feedback_rows": len(manifest["lineage"]["feedback_rows"]),
                "report": confusion.report_of(shop.state, service, bundle.release),
                "shadow": manifest["metrics"].get("shadow"),
                "shadow_report": shadow.report_of(shop, service, bundle.release),
                "verdicts": {verdict["gate"]: verdict["reason"] for verdict in manifest["verdicts"]},
                "figures": {verdict["gate"]: verdict["figures"] for verdict in manifest["verdicts"]},
            }
        )
    if as_json:
        print_json(rows)
        return
    cells = [
        (
            row["release"],
            row["state"],
            datetime.fromtimestamp(row["created_at"]).isoformat(" ", "minutes"),
            row["engine"],
            row["previous"] or "",
            row["feedback_rows"],
        )
        for row in rows
    ]
    columns = ("release", "state", "created", "engine", "previous", "learned")
    console.print(table(service, columns, cells))
    for row in rows:
        say(f"{row['release']}: {row['verdicts'].get('quality', '')}")  # too long for a column
    if named := next((row["report"] for row in reversed(rows) if row["report"]), None):
        say(f"what the newest answers wrong: {named}, with .json and .png beside it")
    if named := next((row["shadow_report"] for row in reversed(rows) if row["shadow_report"]), None):
        say(f"what it answers otherwise than the one before: {named}, with .json beside it")


def _state(release: int, serving: int | None, published: list[int]) -> str:
    if release == serving:
        return "serving"
    return "published" if release in published else "on disk"


def promote(
    context: typer.Context,
    service: Service,
    release: Annotated[int, typer.Argument(help="The release to serve; `perennial releases` lists them.")],
    as_json: Json = False,
) -> None:
    """Make a release the serving one, without dropping a request; the serving one itself then runs as the
    settings say now."""
    shop = open_workshop(settings_of(context))
    known_releases(shop, service)
    _say(releases_of.switch(shop, service, release), service, as_json)


def rollback(context: typer.Context, service: Service, as_json: Json = False) -> None:
    """Make the previous release serve again; what the bad one learned is free for another attempt."""
    shop = open_workshop(settings_of(context))
    _say(releases_of.roll_back(shop, service), service, as_json)


def retire(context: typer.Context, service: Service, as_json: Json = False) -> None:
    """Take a service out of the server. Its releases and its feedback stay; `perennial promote` brings it
    back."""
    shop = open_workshop(settings_of(context))
    newest, serving = known_releases(shop, service)[-1], shop.serving(service)
    releases_of.withdraw(shop, service)
    number = serving.release if serving else newest
    if as_json:
        print_json({"retired": service, "release": number})
    else:
        say(f"{service} is out of the server; `perennial promote {service} {number}` brings it back")


def _say(switched: dict[str, Any], service: str, as_json: bool) -> None:
    if as_json:
        print_json(switched)
        return
    took = (
        f" in {switched['swap_ms']} ms"
        if switched["swap_ms"] is not None
        else "; no server runs, the next start serves it"
    )
    say(f"{service}: release {switched['release']} serves{took}")
