"""Publishes into a model repository on this machine's own disk, beside the releases that serve.

The repository holds what the server is to hold: the serving release, the one before it and, until it is
promoted or retired, a candidate; the stages load every version that is there. (With `latest: 2`, publishing
after a roll-back would push out the older release that serves.) Everything is made in the staging folder,
brought to the disk and renamed into place, so that a kill at any instant leaves a version folder whole or
absent. Knows files; when a server loads them is its caller's matter.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from perennial.errors import BadRequest, Broken, ConfigError, NotFound
from perennial.publishers._leftovers import leftovers
from perennial.publishers._stamp import Stamp, VersionFolder, stamp
from perennial.repository.durable import move, replace_text, sync
from perennial.repository.layout import (
    CONFIG,
    ENSEMBLE,
    LLM,
    STAGES,
    TIMED,
    WRITING,
    ensemble_model,
    ensemble_models,
    is_whole,
    read_release,
    releases_in,
    services,
    stage_model,
    stage_models,
    timed_model,
)
from perennial.repository.pbtxt import pinned_release, tensors_of
from perennial.types import Bundle, Placement

__all__ = ["LocalPublisher"]


class LocalPublisher:
    """`staging` and `quarantine` are folders outside `repository`, on the same file system.

    One process at a time publishes, points, retires or quarantines: its caller holds a lock.
    """

    def __init__(self, repository: Path, staging: Path, quarantine: Path) -> None:
        self._repository = repository
        self._staging = staging / "publisher"
        self._quarantine = quarantine

    def publish(self, bundle: Bundle, placement: Placement) -> None:
        """Put the release beside the serving one, whole or not at all. Idempotent; with another
        placement it is put anew.

        Raises `Broken` where the bundle is not as it was built or its number is taken by another release,
        and `BadRequest` where it cannot serve beside the release that does.
        """
        self._empty_staging()
        self._refuse_taken_name(bundle.service)
        stamped = stamp(bundle, placement, self._repository.resolve())
        self._refuse_other_tensors(bundle, stamped)
        if self._has_other_stages(bundle.service, stamped):
            self._make_room_for_stages(bundle, stamped)
        for stage, config in stamped.configs.items():
            self._put_text(stage_model(bundle.service, stage), CONFIG, config)
        for stage, version in stamped.versions.items():
            self._put_version(stage_model(bundle.service, stage), version)

    def point(self, service: str, release: int) -> None:
        """Make `release` the one that the ensembles pin, and keep beside it just the one that served before.

        What goes has not served since the last `point`: no answer is still on its way through it.
        """
        if release not in self.versions(service):
            known = ", ".join(map(str, self.versions(service))) or "none"
            raise NotFound(
                f"release {release} of {service!r} is not published (published: {known}); publish it first"
            )
        self._make_folders()
        before = self.serving(service)
        if before not in (None, release):
            for other in self._present(service) - {before, release}:
                self._remove(service, other)
        source = self._stages(service)[-1] / str(release)
        for ensemble, text in ((timed_model(service), TIMED), (ensemble_model(service), ENSEMBLE)):
            self._ensure(self._repository / ensemble)
            self._ensure(self._repository / ensemble / str(release))
            self._put_text(ensemble, CONFIG, (source / text).read_text())

    def serving(self, service: str) -> int | None:
        config = self._repository / ensemble_model(service) / CONFIG
        return pinned_release(config.read_text()) if config.is_file() else None

    def versions(self, service: str) -> list[int]:
        models = self._stages(service)
        return [
            release
            for release in releases_in(models[0])
            if all(is_whole(model / str(release)) for model in models)
        ]

    def retire(self, service: str, release: int) -> None:
        """Take a release that is not serving out of the repository; its bundle stays. Idempotent."""
        if release == self.serving(service):
            raise BadRequest(
                f"release {release} of {service!r} is serving; promote another one, or roll back, first"
            )
        self._make_folders()
        self._remove(service, release)

    def withdraw(self, service: str) -> None:
        self._make_folders()
        for model in self._models(service):
            self._discard(model)

    def quarantine(self) -> list[Path]:
        """Move out of a server's sight whatever is not whole. Call it before a server starts.

        A serving release that is broken goes as well: then `serving` is not one of `versions`, and it must
        be published again, or another one pointed at.
        """
        self._empty_staging()
        pinned = {service: self.serving(service) for service in services(self._repository)}
        return [self._set_aside(path) for path in leftovers(self._repository, pinned)]

    def _put_text(self, model: str, name: str, text: str) -> None:
        target = self._repository / model / name
        if target.is_file() and target.read_text() == text:
            return
        self._ensure(target.parent)
        # The part lies in the staging folder: a stray file in a model's own would reload its every version.
        replace_text(target, text, self._staging / f"{model}.{name}")

    def _put_version(self, model: str, version: VersionFolder) -> None:
        target = self._repository / model / str(version.release.release)
        if is_whole(target):
            present = read_release(target)
            if present == version.release:
                return
            if not version.is_of_bundle(present):
                raise Broken(
                    f"{target} holds another release of that number, and a release never changes: "
                    "publish under a higher number, or remove the service from the repository"
                )
        staged = self._staging / f"{model}.{target.name}"
        version.write(staged)
        self._discard(target)
        move(staged, target)

    def _remove(self, service: str, release: int) -> None:
        for model in self._models(service):
            self._discard(model / str(release))

    def _discard(self, folder: Path) -> None:
        """Take a version's or a model's folder away, if it is there, in one step; the next `publish` deletes
        it.

        Not brought to the disk: should it come back after a power cut, it is whole, or is set aside.
        """
        if folder.is_dir():
            gone = self._staging / f"{folder.parent.name}.{folder.name}.gone"
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)

    def _set_aside(self, path: Path) -> Path:
        name = f"{path.parent.name}.{path.name}"
        taken = len(list(self._quarantine.glob(f"{name}.*")))
        target = self._quarantine / f"{name}.{taken}"
        move(path, target)
        return target

    def _present(self, service: str) -> set[int]:
        """Every release of which anything is there, whole or not."""
        return {release for model in self._models(service) for release in releases_in(model)}

    def _stages(self, service: str) -> list[Path]:
        return [self._repository / model for model in stage_models(self._repository, service)]

    def _models(self, service: str) -> list[Path]:
        """In the order in which they may go: no ensemble without its stages."""
        return [*(self._repository / model for model in ensemble_models(service)), *self._stages(service)]

    def _refuse_taken_name(self, service: str) -> None:
        config = self._repository / ensemble_model(service) / CONFIG
        if config.is_file() and self.serving(service) is None:
            raise BadRequest(
                f"the name {service!r} is taken by a model that is no service; choose another one"
            )

    def _make_room_for_stages(self, bundle: Bundle, stamped: Stamp) -> None:
        """The releases that are there besides would be asked in another way: a roll-back puts them anew."""
        for other in self._present(bundle.service) - {bundle.release}:
            self._remove(bundle.service, other)
        for stage in {*STAGES, *WRITING} - {*stamped.configs}:
            self._discard(self._repository / stage_model(bundle.service, stage))

    def _has_other_stages(self, service: str, stamped: Stamp) -> bool:
        """Whether what is there is of other stages, or has another model write for it."""
        stages = {stage_model(service, stage): config for stage, config in stamped.configs.items()}
        if {*stages} != {*stage_models(self._repository, service)}:
            return True
        llm = stage_model(service, LLM)
        present = self._repository / llm / CONFIG
        return llm in stages and not (present.is_file() and present.read_text() == stages[llm])

    def _refuse_other_tensors(self, bundle: Bundle, stamped: Stamp) -> None:
        """Stages of one model share a config: new shapes would fail the requests that are on their way."""
        if self.serving(bundle.service) in (None, bundle.release):
            return
        if self._has_other_stages(bundle.service, stamped):
            raise BadRequest(
                f"release {bundle.release} of {bundle.service!r} has other stages than the serving one "
                f"(another llm?); take that out, `perennial retire {bundle.service}`, and promote this one"
            )
        for stage, config in stamped.configs.items():
            present = self._repository / stage_model(bundle.service, stage) / CONFIG
            if present.is_file() and tensors_of(present.read_text()) != tensors_of(config):
                raise BadRequest(
                    f"release {bundle.release} of {bundle.service!r} changes the tensors of its {stage} "
                    "(other labels?), which the serving one shares; build it as a service of another name"
                )

    def _ensure(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir()
            sync(folder.parent)

    def _empty_staging(self) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        self._make_folders()

    def _make_folders(self) -> None:
        self._repository.mkdir(parents=True, exist_ok=True)
        for folder in (self._staging, self._quarantine):
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_dev != self._repository.stat().st_dev:
                raise ConfigError(
                    f"{folder} and {self._repository} are on different file systems, and a release is put in "
                    "place by a rename; put --state on the repository's file system"
                )
