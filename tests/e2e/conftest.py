"""A real tritonserver, shared by the session, with a repository that any test may add a service to."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation
from perennial.names import OWN_MODELS
from perennial.repository.layout import copy_own_models
from perennial.server import embedded
from perennial.server.control import Control
from perennial.server.process import Launch, start
from perennial.state import State
from serving import Served

ROOT = Path(__file__).parents[2]
TOYS = Path(__file__).parent / "toys"


@pytest.fixture(scope="session")
def embedded_server() -> None:
    """Skips where the embedded tritonserver cannot run, with the reason."""
    if reason := embedded.unavailable():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def served(embedded_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server: the repository's own models, the toys, and a state folder with its store and secrets."""
    folder = tmp_path_factory.mktemp("served")
    repository, state = folder / "model_repository", State(folder / "var")
    shutil.copytree(ROOT / "model_repository", repository, ignore=_not_committed)
    shutil.copytree(TOYS, repository, dirs_exist_ok=True)
    launch = Launch(
        repository,
        state.folder("run"),
        state.folder("logs") / "server.log",
        state.secret("admin").read_text(),
        models=(*OWN_MODELS, "toy"),
        environment={
            "PERENNIAL_STORE_URL": state.store_url,
            "PERENNIAL_KEY_FILE": str(state.secret("prediction-id").resolve()),
        },
    )
    with (
        start(launch) as server,
        Control(server.run.grpc_url, launch.secret, server.run.metrics_url) as control,
    ):
        yield Served(server, control, repository, state)


@pytest.fixture
def toys(embedded_server: None, tmp_path: Path) -> Launch:
    """A server of its own for a test that kills or breaks one; start it."""
    shutil.copytree(TOYS, tmp_path / "models")
    return Launch(
        tmp_path / "models",
        tmp_path / "run",
        tmp_path / "server.log",
        secrets.token_hex(32),
        models=("toy",),
        environment={"TOY": "from the environment"},
    )


@pytest.fixture
def home(embedded_server: None, built: Path, tmp_path: Path) -> Installation:
    """Release 1 of the tiny service was built here."""
    folder = tmp_path / "home"
    shutil.copytree(built, folder)
    copy_own_models(ROOT / "model_repository", folder / "repository")
    return Installation(folder)


def _not_committed(folder: str, names: list[str]) -> list[str]:
    """Services that a build stamped beside the committed models are none of a test's."""
    at_root = Path(folder) == ROOT / "model_repository"
    committed = {*OWN_MODELS, "README.md"}
    return [name for name in names if name == "__pycache__" or (at_root and name not in committed)]
