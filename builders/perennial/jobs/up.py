"""The foreground of `perennial up`: server, watchdog, worker and front, until told to stop."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perennial.errors import Broken, Unavailable
from perennial.jobs import release
from perennial.jobs.front import Front
from perennial.jobs.revivals import Revivals
from perennial.jobs.worker import start_child, stop_child
from perennial.jobs.workshop import Workshop
from perennial.names import OWN_MODELS
from perennial.plugins import labels_of
from perennial.repository.layout import WARMUP, ensemble_model, ensemble_models, stage_models
from perennial.server.examine import Question
from perennial.server.ports import Ports
from perennial.server.process import Launch, Server, start
from perennial.server.runinfo import start_time
from perennial.server.watchdog import Watchdog
from perennial.types import Bundle, Tensors, text_tensor

PID_FILE = "up.json"
LOOK_EVERY_S = 0.5
RESTARTS = 5

log = logging.getLogger(__name__)


class Up:
    """A running Perennial. Enter it to start, leave it to stop everything that it started.

    A server that dies over and over ends it. A worker never does: without one the server still answers.
    """

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._workers, self._servers = Revivals(), Revivals()
        self.stopping = threading.Event()

    def __enter__(self) -> Up:
        mend(self._shop)
        write_pid(self._shop)
        self._server = start_server(self._shop)
        try:
            self._watch = Watch(self._shop, self._server.run.server_pid)
            self._front = Front(self._shop)
            self._worker = start_worker(self._shop)
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._watch.stop()
        stop_child(self._worker)
        self._front.stop()
        self._server.stop()

    @property
    def server(self) -> Server:
        return self._server

    @property
    def openai_url(self) -> str | None:
        """Where OpenAI's API is spoken, if some service writes."""
        return self._front.url

    def keep_up(self, show: Callable[[], None]) -> None:
        """Until stopped: show how things are, and restart what has died."""
        with _signals_set(self.stopping):
            while not self.stopping.wait(LOOK_EVERY_S):
                self._revive()
                show()

    def _revive(self) -> None:
        self._front.keep_up()
        if self._worker.poll() is not None and self._workers.due():
            log.warning("the worker ended with code %s; starting it again", self._worker.returncode)
            self._worker = start_worker(self._shop)
        if not self._server.alive and self._servers.due():
            log.warning("tritonserver is gone; starting it again")
            if self._servers.in_a_row > RESTARTS:
                file = self._shop.state.folder("logs") / "tritonserver.log"
                raise Unavailable(f"tritonserver died {RESTARTS} times in a row; {file} ends with the reason")
            self._watch.stop()
            self._server.stop()
            mend(self._shop)
            self._server = start_server(self._shop)
            self._watch = Watch(self._shop, self._server.run.server_pid)


class Watch:
    """The watchdog on the server in use, in a thread of its own; `server_pid` where it runs here."""

    def __init__(self, shop: Workshop, server_pid: int | None) -> None:
        self._shop = shop
        self._server_pid = server_pid
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with self._shop.control() as control:
            assert control
            repository = self._shop.settings.repository
            watchdog = Watchdog(control, lambda: questions(self._shop), repository, self._server_pid)
            watchdog.run(self._stopping)


@contextmanager
def watched(shop: Workshop) -> Iterator[None]:
    """The watchdog on a server that runs elsewhere, beside the block."""
    watch = Watch(shop, None)
    try:
        yield
    finally:
        watch.stop()


def questions(shop: Workshop) -> list[Question]:
    """A text for each service that was never asked, since a cache would answer for an engine that is dead;
    and for the models that speak for the store whether it answers."""
    probe = {"probe": True}
    asked = [Question(model, _any(names), probe) for model, names in OWN_MODELS.items()]
    for bundle in filter(None, map(shop.serving, shop.released())):
        texts = json.loads((bundle.folder / WARMUP).read_text())
        labels = labels_of(bundle.manifest["task"])
        text = labels.another(texts[0], random.getrandbits(32))
        asked.append(Question(ensemble_model(bundle.service), {"TEXT": text_tensor([text])}, probe))
    return asked


def _any(names: Sequence[str]) -> Tensors:
    return {name: text_tensor(["probe"]) for name in names}


def write_pid(shop: Workshop) -> None:
    """A pid alone is used again by another process; with its start it is not."""
    found = {"pid": os.getpid(), "started": start_time(os.getpid())}
    (shop.state.folder("run") / PID_FILE).write_text(json.dumps(found))


def running_pid(shop: Workshop) -> int | None:
    """The process of the `perennial up` that runs on this state."""
    try:
        found = json.loads((shop.state.folder("run") / PID_FILE).read_text())
    except (OSError, ValueError):
        return None
    return int(found["pid"]) if start_time(found["pid"]) == found["started"] else None


def start_server(shop: Workshop) -> Server:
    """With all that serves, even where that is more than `memory_mb`: answers come before a budget."""
    server = start(launch_of(shop))
    taken, most = sum(shop.memory_mb().values()), shop.settings.server.memory_mb
    if most and taken > most:
        log.warning(
            "tritonserver takes %s MB, and server.memory_mb is %s: no release can be put into service until "
            "it is raised, or a service retired (`perennial status` tells what each takes)",
            f"{taken:,.0f}",
            f"{most:,}",
        )
    return server


def launch_of(shop: Workshop) -> Launch:
    """The server of these settings, with our own models and every service that has a release."""
    settings = shop.settings
    services = [name for service in shop.released() for name in _models(settings.repository, service)]
    return Launch(
        repository=settings.repository,
        folder=shop.state.folder("run"),
        log=shop.state.folder("logs") / "tritonserver.log",
        secret=settings.admin_key,
        models=(*OWN_MODELS, *services),
        host=settings.server.host,
        ports=Ports(settings.server.http_port, settings.server.grpc_port, settings.server.metrics_port),
        environment={
            "PERENNIAL_STORE_URL": settings.database,
            "PERENNIAL_KEY_FILE": str(settings.id_key.resolve()),
        },
        timeout_s=settings.server.start_timeout_s,
        cache_mb=settings.server.cache_mb,
    )


def _models(repository: Path, service: str) -> tuple[str, ...]:
    """A service's Triton models, stages before the ensembles that need them."""
    return (*stage_models(repository, service), *ensemble_models(service))


def mend(shop: Workshop) -> None:
    """Before a server starts: set broken leftovers aside, and publish what serves as the settings now say."""
    with shop.state.lock(release.LOCK):
        for path in shop.publisher.quarantine():
            log.warning("set aside a broken leftover: %s", path)
        for bundle in filter(None, map(shop.serving, shop.released())):
            _publish_again(shop, bundle)
            _tell_store(shop, bundle)


def _publish_again(shop: Workshop, bundle: Bundle) -> None:
    if bundle.release not in shop.publisher.versions(bundle.service):
        release.deploy(shop, bundle)
    else:
        try:
            shop.publisher.publish(bundle, shop.placement(bundle.service))
        except Broken as error:  # what is in the repository is whole, and serves
            log.warning("%s", error)
    shop.publisher.point(bundle.service, bundle.release)  # the ensembles may be rendered otherwise now


def _tell_store(shop: Workshop, bundle: Bundle) -> None:
    try:
        shop.store.put_service(release.record_of(shop, bundle))
    except Unavailable as error:  # answers do not need it
        log.warning("%s; feedback of %s is checked by what the store knew", error, bundle.service)


def start_worker(shop: Workshop) -> subprocess.Popen[bytes]:
    order = {"settings": shop.settings.model_dump(mode="json")}
    return start_child(order, shop.state.folder("logs") / "worker.log")


@contextmanager
def _signals_set(stopping: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set the event instead of raising, so that stopping is never cut short."""

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopping.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
