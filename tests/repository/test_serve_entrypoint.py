"""What the serving image's entry point tells tritonserver, with one that prints what it was told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from perennial.server.arguments import arguments, cache_arguments
from perennial.server.ports import Ports

ENTRYPOINT = Path(__file__).parents[2] / "docker/serve-entrypoint.sh"
SECRET = "0123456789abcdef" * 4
ITS_OWN = (
    "--http-address",
    "--http-port",
    "--grpc-address",
    "--grpc-port",
    "--metrics-address",
    "--metrics-port",
    "--allow-gpu-metrics",
)
"""What a container is not told: it has a network, and perhaps a GPU, of its own."""


@pytest.fixture
def container(tmp_path: Path) -> dict[str, str]:
    """The environment of an image with the feedback model and one service; PWD is its working directory."""
    for model in ("model_repository/feedback", "services/sentiment", "services/sentiment_engine"):
        (tmp_path / model).mkdir(parents=True)
        (tmp_path / model / "config.pbtxt").touch()
    (tmp_path / "services/not-a-model").mkdir()
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    server = tmp_path / "bin/tritonserver"
    server.parent.mkdir()
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    server.chmod(0o755)
    return {
        "PATH": f"{server.parent}:{os.environ['PATH']}",
        "PWD": str(tmp_path),
        "PERENNIAL_REPOSITORY": str(tmp_path / "services"),
        "PERENNIAL_SERVER__ADMIN_KEY_FILE": str(tmp_path / "secret"),
    }


def start(container: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ENTRYPOINT), *arguments],
        env=container,
        cwd=container["PWD"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_server_loads_every_model_of_both_repositories(container: dict[str, str]) -> None:
    told = start(container).stdout.split()
    loaded = {one.removeprefix("--load-model=") for one in told if one.startswith("--load-model=")}
    assert loaded == {"feedback", "sentiment", "sentiment_engine"}
    assert f"--model-repository={container['PWD']}/model_repository" in told
    assert f"--model-repository={container['PERENNIAL_REPOSITORY']}" in told


def test_the_container_is_told_what_the_embedded_server_is_told(container: dict[str, str]) -> None:
    embedded = arguments(
        Path(container["PERENNIAL_REPOSITORY"]),
        ["feedback", "sentiment"],
        "127.0.0.1",
        Ports(1, 2, 3),
        SECRET,
    )
    assert {one for one in embedded if not one.startswith(ITS_OWN)} <= set(start(container).stdout.split())


def test_the_container_has_the_cache_that_the_setting_says(container: dict[str, str]) -> None:
    told = start({**container, "PERENNIAL_SERVER__CACHE_MB": "64"}).stdout.split()
    assert set(cache_arguments(64)) <= set(told)
    assert not any("cache" in one for one in start(container).stdout.split())
    refused = start({**container, "PERENNIAL_SERVER__CACHE_MB": "64m"})
    assert refused.returncode == 1 and "64m is no number of megabytes" in refused.stderr


def test_the_server_starts_before_there_is_any_service(container: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = start(
        {**container, "PERENNIAL_REPOSITORY": str(tmp_path / "empty")}, "--log-verbose=1"
    ).stdout.split()
    assert [one for one in told if one.startswith("--load-model=")] == ["--load-model=feedback"]
    assert told[-1] == "--log-verbose=1"


@pytest.mark.parametrize("secret", ["", "abc", "x" * 64, f"{SECRET}\n{SECRET}", f"{SECRET} --http-port=1"])
def test_a_weak_or_garbled_secret_is_refused(container: dict[str, str], tmp_path: Path, secret: str) -> None:
    (tmp_path / "secret").write_text(secret)
    refused = start(container)
    assert refused.returncode == 1
    assert "openssl rand -hex 32" in refused.stderr
    assert not refused.stdout


@pytest.mark.parametrize("missing", ["PERENNIAL_REPOSITORY", "PERENNIAL_SERVER__ADMIN_KEY_FILE"])
def test_what_is_not_mounted_is_named(container: dict[str, str], missing: str) -> None:
    refused = start({**container, missing: "/nowhere"})
    assert refused.returncode == 1
    assert "/nowhere" in refused.stderr
    assert missing in start({name: value for name, value in container.items() if name != missing}).stderr
