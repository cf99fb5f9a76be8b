"""A place of the demo's own inside the state folder, with a copy of the sample's first release.

Its store, repository and ports are not the user's, whose service neither sees nor feels what is learned here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perennial import plugins
from perennial.cli.serve import build_sample
from perennial.config import ServerSettings, ServiceSettings, Settings
from perennial.errors import Unavailable
from perennial.jobs import data, release
from perennial.jobs.workshop import Workshop, open_workshop
from perennial.protocols import Sample
from perennial.repository.layout import copy_own_models
from perennial.store_protocol import WORKER
from perennial.types import Bundle, Example

FOLDER = "demo"
_LEASE_S = 60.0


def settings_for(user: Settings, service: str, **changes: Any) -> Settings:
    """The user's settings, but for where everything is and for the `changes` to the service's."""
    home = user.state / FOLDER
    changed = user.service(service).model_copy(update=changes)
    return elsewhere(user, home, home / "model_repository", {service: changed})


def elsewhere(
    user: Settings, state: Path, repository: Path, services: Mapping[str, ServiceSettings]
) -> Settings:
    """The user's settings for these services alone, on a state and a repository of their own: nothing that is
    done by them reaches the user's server or store."""
    return user.model_copy(
        update={
            "state": state,
            "repository": repository,
            "runtime": "embedded",
            "store_url": "",
            "key_file": "",
            "server": ServerSettings(
                http_port=0,
                grpc_port=0,
                metrics_port=0,
                openai_port=0,
                start_timeout_s=user.server.start_timeout_s,
            ),
            "services": dict(services),
        }
    )


@contextmanager
def alone(user: Settings) -> Iterator[None]:
    """One demo at a time on a state; the kernel lets go for one that dies."""
    with (user.folder.folder("run") / f"{FOLDER}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"a demo runs on {user.state} already; wait for it, or give another --state"
            ) from None
        yield


def emptied(settings: Settings, user: Settings) -> Workshop:
    """The sandbox as it is before anything is built: our own models, and the sample's files at hand."""
    shutil.rmtree(settings.state, ignore_errors=True)
    copy_own_models(user.repository, settings.repository)
    samples = user.folder.folder("samples").resolve()
    (settings.state / "samples").symlink_to(samples, target_is_directory=True)
    return open_workshop(settings)


def member(name: str) -> type[Sample]:
    found: type[Sample] = plugins.get("samples", name)
    return found


def sample_of(shop: Workshop, name: str) -> Sample:
    return member(name)(shop.state.folder("samples"))


def serve_sample(shop: Workshop, user: Workshop, name: str, *, quick: bool, quiet: bool) -> Bundle:
    """Have the sample's first release serve in `shop`: the user's own where it is there, else built.

    It is built as `perennial up` builds it, and where `up` would: for the user, unless another service is
    there already, or the quick form's short training would leave the user with less than `up` gives.
    """
    sample = sample_of(shop, name)
    if not (user.released() or quick):
        build_sample(user, name, quiet)
    found = _built_from(user, sample)
    if found:
        _adopt(shop, found)
    else:
        build_sample(shop, name, quiet)
    serving = shop.serving(sample.service)
    assert serving
    return serving


def _built_from(user: Workshop, sample: Sample) -> Bundle | None:
    """The user's release that knows the sample's data and nothing else, if there is one."""
    bundles = user.bundles(sample.service)
    if not bundles:
        return None
    digest = data.digest([Example(row.text, row.label) for row in sample.data()])
    first = [one for one in bundles if one.manifest["lineage"]["data_sha256"] == digest]
    return first[-1] if first else None


def _adopt(shop: Workshop, found: Bundle) -> None:
    """Copy the bundle, promote it, and write down its build, so that later releases count on from it."""
    copy = shop.state.bundle(found.service, found.release)
    _copy(found.folder, copy)
    job = shop.store.enqueue(
        found.service, "build", f"copied from {found.folder}", {}, first_release=found.release
    )
    lease = shop.store.acquire(WORKER, FOLDER, _LEASE_S)
    assert lease and shop.store.next_job(lease)
    release.switch(shop, found.service, found.release)
    shop.store.settle(job, lease, "kept")
    shop.store.release(lease)


def _copy(source: Path, target: Path) -> None:
    """By hard links: a bundle never changes, and deleting one copy leaves the other."""
    shutil.copytree(source, target, copy_function=os.link)
