"""`perennial up` in a folder of its own, as a user has it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flow.workshops import SERVICE, TEACH
from perennial.config import ServiceSettings
from perennial.repository.layout import copy_own_models

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from perennial.cli import main; main()"]


def installed(built: Path, folder: Path, service: ServiceSettings) -> Installation:
    """What is built already, installed in a new folder."""
    copy = shutil.copytree(built, folder)
    copy_own_models(ROOT / "model_repository", copy / "repository")
    home = Installation(copy)
    home.environment[f"PERENNIAL_SERVICES__{SERVICE.upper()}"] = service.model_dump_json()
    return home


class Installation:
    """A folder in which a user runs Perennial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PERENNIAL_STATE": str(folder / "var"),
            "PERENNIAL_REPOSITORY": str(folder / "repository"),
            **{f"PERENNIAL_SERVER__{name}_PORT": "0" for name in ("HTTP", "GRPC", "METRICS", "OPENAI")},
            "PERENNIAL_WORKER__LEASE_S": "2",
            f"PERENNIAL_SERVICES__{SERVICE.upper()}": TEACH.model_copy(
                update={"trigger_count": 400, "watch_s": 5.0}
            ).model_dump_json(),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self.environment, check=False
        )

    def told(self, *arguments: str) -> dict[str, object]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        said: dict[str, object] = json.loads(done.stdout)
        return said

    @contextmanager
    def up(self) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
        """It runs, and said where; it is stopped at the end if the test did not."""
        errors = (self.folder / "errors").open("w")
        process = subprocess.Popen(
            [*COMMAND, "up", "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        try:
            assert process.stdout
            line = process.stdout.readline()
            urls = json.loads(line or "{}")
            assert "grpc" in urls, line + (self.folder / "errors").read_text()
            yield process, urls
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            errors.close()

    def job_state(self) -> str:
        return str(self.service_status()["job"]["state"])

    def service_status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout)["services"][SERVICE]
        return status
