"""Where everything that is not served lives: store, bundles, jobs, logs, reports, secrets."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class State:
    """The state folder, `var/` unless told otherwise. Folders are made when first asked for."""

    root: Path

    @property
    def store_url(self) -> str:
        self.root.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{self.root.resolve() / 'store.db'}"

    def folder(self, *parts: str) -> Path:
        """`releases`, `staging`, `jobs`, `logs`, `reports`, `run`, `quarantine`, `samples`, or below one."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def bundle(self, service: str, release: int) -> Path:
        """The folder of a release's bundle, whether it exists or not."""
        return self.root / "releases" / service / str(release)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Alone among all processes on this state; the kernel lets go for a process that dies."""
        with (self.folder("run") / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def secret(self, name: str) -> Path:
        """The file of a random secret (64 hex digits), readable by its owner only, made at first use."""
        path = self.root / "secrets" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = path.with_name(f"{name}.{os.getpid()}")
            part.touch(mode=0o600)
            part.write_text(secrets.token_hex(32))
            try:
                os.link(part, path)  # the first of two racing processes wins, whole
            except FileExistsError:
                pass
            finally:
                part.unlink()
        return path
