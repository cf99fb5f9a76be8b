"""A service on the tests' server: publishing, promoting and asking it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from perennial.publishers.local import LocalPublisher
from perennial.repository.layout import ensemble_models, stage_models
from perennial.server.stubs import stubs
from perennial.types import Bundle, Placement, Tensors, text_tensor
from serving import Served


class Service:
    """What the jobs do with a service, in few words; gone from server and repository at the end."""

    def __init__(self, served: Served, name: str) -> None:
        self.served, self.name = served, name
        state = served.state
        self.publisher = LocalPublisher(
            served.repository, state.folder("staging"), state.folder("quarantine")
        )
        self.bundles: dict[int, Bundle] = {}

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for model in (*ensemble_models(self.name), *self._stages):
            self.served.control.unload(model)
            shutil.rmtree(self.served.repository / model)

    @property
    def _stages(self) -> tuple[str, ...]:
        return stage_models(self.served.repository, self.name)

    @property
    def serving(self) -> Bundle:
        release = self.publisher.serving(self.name)
        assert release is not None
        return self.bundles[release]

    def publish(self, bundle: Bundle) -> None:
        self.bundles[bundle.release] = bundle
        self.publisher.publish(bundle, Placement(instances=2, shadow_share=1.0))
        self.load_stages()

    def load_stages(self) -> None:
        for model in self._stages:
            self.served.control.load(model)

    def point(self, release: int) -> None:
        self.publisher.point(self.name, release)
        for model in ensemble_models(self.name):
            self.served.control.load(model)

    def promote(self, bundle: Bundle) -> None:
        self.publish(bundle)
        self.point(bundle.release)

    def ask(self, texts: Sequence[str | bytes], top_k: int | None = None) -> Tensors:
        raw = [text.encode() if isinstance(text, str) else text for text in texts]
        asked = {"TEXT": text_tensor(raw)}
        if top_k is not None:
            asked["TOP_K"] = np.full((len(raw), 1), top_k, np.int32)
        return self.served.control.ask(self.name, None, asked)

    def processes(self, release: int) -> set[int]:
        """Those that answer for a release: the same ones as long as Triton does not initialise it again."""
        found = stubs(self.served.server.run.server_pid)
        folders = [self.served.repository / model / str(release) for model in self._stages]
        return {process.pid for folder in folders for process in found[folder]}

    def loaded(self) -> list[list[int]]:
        """The releases that each stage has in memory."""
        return [self.served.control.versions(model) for model in self._stages]
