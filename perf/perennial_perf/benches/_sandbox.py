"""What the benches of a service run on: a state, a repository and a server of their own, in which the release
that serves the user serves, as release 1. Nothing that they do reaches the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from perennial import plugins
from perennial.cli.serve import build_sample
from perennial.config import Settings, WorkerSettings
from perennial.jobs import data
from perennial.jobs.release import switch
from perennial.jobs.up import launch_of
from perennial.jobs.workshop import Workshop, open_workshop
from perennial.protocols import Sample
from perennial.repository.layout import copy_own_models, stage_models
from perennial.server.process import Server, start
from perennial.server.stubs import stubs
from perennial.types import Bundle
from perennial_perf.analyzer import Protocol
from perennial_perf.benches._releases import copy_release
from perennial_perf.sandbox import elsewhere

SERVICE = "sentiment"
"""The default service, and the sample of the same name that it is built from."""
OPEN_GATES = {
    "golden_margin": 0.5,
    "slice_margin": 1.0,
    "most_flips": 1.0,
    "calibration_margin": 1.0,
    "golden_looks": 1_000,
    "alpha": 0.45,
    "latency_ratio": 5.0,
}
"""For benches to which it is no matter what a release has learned."""
NEVER = 1_000_000
"""A trigger that no bench reaches: benches say themselves when to rebuild."""
LEASE_S = 2.0
"""How long a killed worker's lease keeps the next one waiting; in use it is 10 s."""

console = Console(stderr=True)
"""Standard output is the report's."""


@contextmanager
def sandbox(settings: Settings, bench: str, **service: Any) -> Iterator[Workshop]:
    """In the state's `benches`, whose disk is the one that matters; `service` sets the service's settings."""
    with copied(settings, built(settings), bench, service) as shop:
        yield shop


@contextmanager
def copied(settings: Settings, bundle: Bundle, bench: str, service: Mapping[str, Any]) -> Iterator[Workshop]:
    """A sandbox of any release."""
    with together(settings, [(bundle, service)], bench) as shop:
        yield shop


@contextmanager
def together(
    settings: Settings, bundles: Sequence[tuple[Bundle, Mapping[str, Any]]], bench: str
) -> Iterator[Workshop]:
    """A sandbox of several releases, of a service each, with its settings."""
    with TemporaryDirectory(prefix=f"{bench}-", dir=settings.folder.folder("benches")) as folder:
        services = {bundle.service: service for bundle, service in bundles}
        shop = open_workshop(_settings(settings, Path(folder), services))
        copy_own_models(settings.repository, shop.settings.repository)
        for bundle, _ in bundles:
            copy_release(bundle, shop.state.bundle(bundle.service, 1), 1, previous=0)
            switch(shop, bundle.service, 1)
        try:
            yield shop
        finally:
            shop.store.close()


def built(settings: Settings, name: str = SERVICE, takes: str = "about two minutes") -> Bundle:
    """The release that serves there, built from the sample of that name as `perennial up` builds it where
    there is none yet."""
    shop, service = open_workshop(settings), sample(settings, name).service
    try:
        if service not in shop.released():
            say(f"no service {service!r} is here yet: building it first, which takes {takes}")
            build_sample(shop, name, quiet=True)
        bundle = shop.serving(service)
        assert bundle is not None
        return bundle
    finally:
        shop.store.close()


def sample(settings: Settings, name: str = SERVICE) -> Sample:
    """The sample that a service came from, with its files at hand."""
    member: Sample = plugins.get("samples", name)(settings.folder.folder("samples"))
    member.fetch(say)
    return member


@contextmanager
def serving(shop: Workshop) -> Iterator[Server]:
    """A server on free ports."""
    with start(launch_of(shop)) as server:
        yield server


def target(server: Server, protocol: Protocol = "grpc") -> str:
    port = server.run.grpc_port if protocol == "grpc" else server.run.http_port
    return f"{server.run.host}:{port}"


def processes_of(shop: Workshop, server: Server, release: int) -> set[int]:
    """Those that answer for a release: the same ones as long as Triton does not initialise it again."""
    found = stubs(server.run.server_pid)
    repository = shop.settings.repository.resolve()
    folders = [repository / model / str(release) for model in stage_models(repository, SERVICE)]
    return {process.pid for folder in folders for process in found[folder]}


def texts_of(bundle: Bundle, most: int) -> list[str]:
    """Real texts of the release, in the mix of lengths that it was built from: what it keeps for judging."""
    rows = [
        row for name in ("golden", "validation") for row in data.read(bundle.folder / f"data/{name}.jsonl")
    ]
    return list(dict.fromkeys(row.text for row in rows))[:most]


def say(line: str) -> None:
    """To a person who waits."""
    console.print(line, highlight=False, soft_wrap=True)


def _settings(settings: Settings, folder: Path, services: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The user's own, but for the place, the ports, and what would begin a rebuild."""
    quiet = {"trigger_count": NEVER, "trigger_age_s": float(NEVER), "schedule": ""}
    changed = {
        name: settings.service(name).model_copy(update={**quiet, **service})
        for name, service in services.items()
    }
    moved = elsewhere(settings, folder / "var", folder / "repository", changed)
    return moved.model_copy(update={"worker": WorkerSettings(lease_s=LEASE_S)})
