"""The front: the process beside the server that speaks OpenAI's API, for the services that write."""

from __future__ import annotations

import logging
import socket
import subprocess

from perennial.errors import Unavailable
from perennial.jobs.revivals import Revivals
from perennial.jobs.worker import start_child, stop_child
from perennial.jobs.workshop import Workshop
from perennial.plugins import labels_of
from perennial.server.openai_words import Model
from perennial.server.ports import listen

log = logging.getLogger(__name__)


def models(shop: Workshop) -> list[Model]:
    """Of the services that write, what serves."""
    return [
        Model(bundle.service, bundle.release, int(bundle.manifest["created_at"]))
        for bundle in filter(None, map(shop.serving, shop.released()))
        if labels_of(bundle.manifest["task"]).writes
    ]


def answer(shop: Workshop, listening: socket.socket) -> None:
    """Until SIGTERM or SIGINT."""
    import uvicorn

    from perennial.server.openai import openai

    def url() -> str:
        if not shop.server_url:
            raise Unavailable("no server runs; start one: perennial up")
        return shop.server_url

    app = openai(lambda: models(shop), url)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)).run([listening])


class Front:
    """A child that does so, from when some service writes. It may die; who connects meanwhile waits."""

    def __init__(self, shop: Workshop) -> None:
        self._shop, self._revivals = shop, Revivals()
        self._listening: socket.socket | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.keep_up()

    @property
    def url(self) -> str | None:
        if self._listening is None:
            return None
        host, port = self._listening.getsockname()
        return f"http://{host}:{port}/v1"

    def keep_up(self) -> None:
        if self._listening is None and models(self._shop):
            server = self._shop.settings.server
            self._listening = listen(server.host, "openai", server.openai_port)
        alive = self._child and self._child.poll() is None
        if self._listening is None or alive or not self._revivals.due():
            return
        if self._child:
            log.warning("the front ended with code %s; starting it again", self._child.returncode)
        number = self._listening.fileno()
        order = {"settings": self._shop.settings.model_dump(mode="json"), "front": number}
        self._child = start_child(order, self._shop.state.folder("logs") / "front.log", shared=(number,))

    def stop(self) -> None:
        if self._child:
            stop_child(self._child)
        if self._listening:
            self._listening.close()
