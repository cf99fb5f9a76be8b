"""What can be known of the images and the compose file without a Docker engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from perennial.config import load
from perennial.state import State
from perennial.store_protocol import WORKER
from perennial.stores import open_store

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
IMAGES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def instructions(image: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions, continued lines joined: (`COPY`, `a b ./`)."""
    lines = [line for line in image.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line]


def said(image: Path, keyword: str) -> list[str]:
    return [rest for found, rest in instructions(image) if found == keyword]


def image_of(service: dict[str, Any]) -> Path | None:
    return (
        (DOCKER / service["build"]["context"] / service["build"]["dockerfile"])
        if "build" in service
        else None
    )


every_image = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.stem)
every_service = pytest.mark.parametrize("name", SERVICES)


@every_image
def test_an_image_copies_what_is_there_and_what_the_build_lets_in(image: Path) -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for copied in said(image, "COPY"):
        *sources, _ = [word for word in copied.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(f"{one}/".startswith(f"{source}/") for one in let_in), source


def test_what_the_build_lets_in_is_there() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in "#"]
    assert first == "*"
    for line in rest:
        assert line == "**/__pycache__" or (ROOT / line.removeprefix("!")).exists(), line


@every_service
def test_compose_names_files_that_exist_and_volumes_that_it_declares(name: str) -> None:
    service = SERVICES[name]
    image = image_of(service)
    assert image is None or image.is_file()
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (DOCKER / source).is_file(), source
    assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()


def test_secrets_stay_out_of_the_repository() -> None:
    ignored = (DOCKER / ".gitignore").read_text().split()
    assert all(f"{Path(one['file']).parent}/" in ignored for one in COMPOSE["secrets"].values())


@pytest.mark.parametrize("name", ["triton", "worker"])
def test_every_variable_is_a_setting_that_perennial_knows(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # away from a perennial.toml
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, value)
    settings = load()
    assert settings.database == "sqlite:////srv/store/store.db"
    assert settings.server.admin_key_file == "/run/secrets/admin"
    assert settings.id_key == Path("/run/secrets/prediction-id")
    if name == "worker":
        assert settings.runtime == "container"
        assert settings.server.url == "grpc://triton:8001"
        assert settings.server.metrics_url == "http://triton:8002/metrics"


def test_the_worker_alone_may_write_models() -> None:
    repository = SERVICES["worker"]["environment"]["PERENNIAL_REPOSITORY"]
    assert repository.startswith("/srv/perennial/")
    assert "data:/srv/perennial" in SERVICES["worker"]["volumes"]
    assert "data:/srv/perennial:ro" in SERVICES["triton"]["volumes"]


@every_image
def test_an_image_ends_without_root_and_owns_its_volumes(image: Path) -> None:
    assert said(image, "USER")[-1] == "1000:1000"
    mounted = {volume.split(":")[1] for name in ("triton", "worker") for volume in SERVICES[name]["volumes"]}
    (made,) = [run for run in said(image, "RUN") if run.startswith("install -d -o 1000 -g 1000 ")]
    assert mounted <= set(made.split())


@every_service
def test_a_container_has_no_more_rights_and_memory_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert image_of(service) or not service["user"].startswith("0")


@every_service
def test_a_container_says_whether_it_is_well(name: str) -> None:
    image = image_of(SERVICES[name])
    assert "healthcheck" in SERVICES[name] or (image and said(image, "HEALTHCHECK"))


def test_the_workers_health_is_its_lease(tmp_path: Path) -> None:
    check = said(DOCKER / "worker.Dockerfile", "HEALTHCHECK")[0].partition("CMD ")[2]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def well() -> bool:
        environment = {"PATH": path, "PERENNIAL_STATE": "var", "PERENNIAL_REPOSITORY": "models"}
        return not subprocess.run(["sh", "-c", check], env=environment, cwd=tmp_path, check=False).returncode

    store = open_store(State(tmp_path / "var").store_url)
    assert not well()
    lease = store.acquire(WORKER, "this test", ttl_s=60)
    assert lease and well()
    store.release(lease)
    assert not well()
    store.close()


def test_only_the_front_is_published_and_on_loopback() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["front"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["front"]["ports"])
    assert SERVICES["triton"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"]


@every_image
def test_a_base_image_is_an_argument(image: Path) -> None:
    (base,) = said(image, "FROM")
    (argument,) = re.fullmatch(r"\$\{(\w+)\}", base).groups()  # type: ignore[union-attr]
    assert any(one.split("=")[0] == argument for one in said(image, "ARG"))


def test_triton_is_named_by_whoever_builds_and_2607_or_later() -> None:
    assert said(DOCKER / "serve.Dockerfile", "ARG") == ["TRITON_IMAGE"]
    argument = SERVICES["triton"]["build"]["args"]["TRITON_IMAGE"]
    assert re.fullmatch(r"\$\{TRITON_IMAGE:\?.*26\.07-py3 or later\}", argument)
    assert any("ge 26.07" in run for run in said(DOCKER / "serve.Dockerfile", "RUN"))


def test_the_other_images_are_pinned_to_a_version() -> None:
    assert said(DOCKER / "worker.Dockerfile", "ARG")[0] == "PYTHON_IMAGE=python:3.12-slim-bookworm"
    assert re.fullmatch(r"\$\{NGINX_IMAGE:-nginx:\d+\.\d+-alpine\}", SERVICES["front"]["image"])


def test_no_registry_is_named() -> None:
    for path in [*IMAGES, DOCKER / "compose.yaml", DOCKER / "README.md"]:
        assert not re.findall(r"\b[\w-]+\.(?:ai|com|dev|io|net|org)\b", path.read_text()), path


def test_the_entry_point_is_the_one_that_the_image_starts() -> None:
    image, entrypoint = DOCKER / "serve.Dockerfile", DOCKER / "serve-entrypoint.sh"
    (started,) = json.loads(said(image, "ENTRYPOINT")[0])
    assert any(f"docker/{entrypoint.name} {started}" in copied for copied in said(image, "COPY"))
