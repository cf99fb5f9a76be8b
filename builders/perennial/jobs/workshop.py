"""What every job works with, made from the settings: store, publisher, bundles, the server if one runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial import plugins
from perennial.config import ServiceSettings, Settings
from perennial.errors import NotFound
from perennial.pipeline import Pipeline
from perennial.protocols import Engine, Publisher
from perennial.publishers.local import LocalPublisher
from perennial.repository.layout import MANIFEST, asked_model, read_bundle, releases_in
from perennial.server import memory
from perennial.server.control import Control, Figures
from perennial.server.runinfo import find_running
from perennial.state import State
from perennial.store_protocol import Store
from perennial.stores import open_store
from perennial.task_protocol import Codec, Trainable
from perennial.types import Bundle, Job, Placement

NO_OPTIONS: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Workshop:
    settings: Settings
    state: State
    store: Store
    publisher: Publisher

    def service(self, name: str) -> ServiceSettings:
        return self.settings.service(name)

    def placement(self, name: str) -> Placement:
        """How a release of the service runs, as the settings say now."""
        settings = self.service(name)
        return Placement(
            self.settings.runtime,
            settings.instances or cores(),
            settings.threads,
            settings.alone_threads,
            settings.tokenizers,
            settings.postprocesses,
            settings.shadow_share,
            settings.shadow_texts,
            settings.explore,
            settings.recall,
            self.settings.llm,
            settings.llm_options,
        )

    @contextmanager
    def control(self) -> Iterator[Control | None]:
        """The running server, or None: then what is published waits on disk for the next start."""
        url, metrics_url = self._server()
        if not url:
            yield None
            return
        with Control(url, self.settings.admin_key, metrics_url) as control:
            yield control

    def figures(self, service: str, release: int) -> Figures | None:
        """What the server in use says of all answers of a release; None where none runs."""
        with self.control() as control:
            model = asked_model(self.settings.repository, service)
            return control.figures(model, release) if control else None

    @property
    def server_url(self) -> str:
        """Where the server in use answers, in gRPC; empty where none runs."""
        return self._server()[0]

    def memory_mb(self) -> dict[str, float]:
        """Of the embedded server by model, as `server.memory` has it; nothing where none runs here."""
        running = None if self.settings.server.url else find_running(self.state.folder("run"))
        return memory.by_model(running.server_pid) if running else {}

    def _server(self) -> tuple[str, str]:
        """The gRPC and metrics addresses of the server in use."""
        if self.settings.server.url:
            return self.settings.server.url, self.settings.server.metrics_url
        running = find_running(self.state.folder("run"))
        return (running.grpc_url, running.metrics_url) if running else ("", "")

    def bundle(self, service: str, release: int) -> Bundle:
        return read_bundle(self.state.bundle(service, release))

    def bundles(self, service: str) -> list[Bundle]:
        """Every release on disk, ascending; a folder without a manifest is what a kill left of one."""
        numbers = self.numbers(service)
        whole = [number for number in numbers if (self.state.bundle(service, number) / MANIFEST).is_file()]
        return [self.bundle(service, number) for number in whole]

    def numbers(self, service: str) -> list[int]:
        """Of every release on disk, whole or not, ascending."""
        return releases_in(self.state.root / "releases" / service)

    def bundle_of(self, job: Job) -> Bundle | None:
        """The release that this job made; None before that, and where its number is another job's."""
        made = [bundle for bundle in self.bundles(job.service) if bundle.manifest.get("job") == job.id]
        return made[0] if made else None

    def unused_release(self, service: str) -> int:
        """The first number above every release on disk or in the repository."""
        return max([*self.numbers(service), *self.publisher.versions(service), 0]) + 1

    def serving(self, service: str) -> Bundle | None:
        """The serving release's bundle; None also where a person deleted the state but not the repository."""
        release = self.publisher.serving(service)
        known = release and self.state.bundle(service, release).is_dir()
        return self.bundle(service, release) if release and known else None

    def released(self) -> list[str]:
        """The services that have a serving release."""
        return [name for name in self._built() if self.serving(name)]

    def out_of_service(self) -> list[str]:
        """Those that have releases, none of which serves."""
        return [name for name in self._built() if self.bundles(name) and not self.serving(name)]

    def _built(self) -> list[str]:
        folder = self.state.root / "releases"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def open_workshop(settings: Settings) -> Workshop:
    state = State(settings.state)
    publisher = LocalPublisher(
        settings.repository, state.folder("staging"), quarantine=state.folder("quarantine")
    )
    return Workshop(settings, state, open_store(settings.database), publisher)


def codec_of(task: str, folder: Path) -> Codec:
    codec: Codec = plugins.get(f"tasks/{task}", "codec")(folder)
    return codec


def trainable(task: str) -> Trainable:
    member: Trainable = plugins.get(f"tasks/{task}", "train")()
    return member


def engine_of(name: str, options: Mapping[str, Any] = NO_OPTIONS) -> Engine:
    """`options` as the settings gave them to a build, and its manifest to whoever opens what was built."""
    member: Engine = plugins.get("engines", name)(**options)
    return member


def engine_in(bundle: Bundle) -> Engine:
    """The engine of a release, with the options that it was built with."""
    return engine_of(bundle.manifest["engine"], bundle.manifest.get("engine_options", NO_OPTIONS))


def pipeline_of(bundle: Bundle, threads: int | None = None) -> Pipeline:
    """The release in process, on its own engine file."""
    manifest = bundle.manifest
    session = engine_in(bundle).open(bundle.folder / manifest["file"], threads or cores())
    return Pipeline(codec_of(manifest["task"], bundle.folder), session)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def known_releases(shop: Workshop, name: str) -> list[int]:
    """The numbers of the releases of `name`, which may be retired; `NotFound` where there are none."""
    return shop.numbers(name) or [known_service(shop, name).release]


def known_service(shop: Workshop, name: str) -> Bundle:
    """The serving release of `name`, or `NotFound` with the services that there are."""
    bundle = shop.serving(name)
    if bundle is None:
        known = ", ".join(shop.released()) or "none yet"
        raise NotFound(
            f"there is no service {name!r} (known: {known}); `perennial build {name} --help` makes one"
        )
    return bundle
