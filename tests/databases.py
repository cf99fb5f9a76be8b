"""Databases for tests of stores; PostgreSQL is a real one, on a unix socket in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from perennial.children import die_with_parent
from perennial.stores._schema import metadata

START_TIMEOUT_S = 20.0
# Tests kill clients, never the machine: the server need not sync.
FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "listen_addresses=")


@dataclass(frozen=True)
class Place:
    """Where stores of one member are made. Both give the URL of a database that holds no row."""

    empty: Callable[[], str]
    migrated: Callable[[], str]


@dataclass(frozen=True)
class Postgres:
    socket: Path
    _numbers: count[int]

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.socket}"


def without_rows(url: str) -> str:
    """The same database, its store's rows deleted: a hundred times faster than a new one."""
    with psycopg.connect(url) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(f"DELETE FROM {table.name}".encode())
    return url


def missing() -> str | None:
    """Why no PostgreSQL can be started here, or None."""
    if _binaries() is None:
        return "no PostgreSQL binaries in /usr/lib/postgresql/*/bin or on PATH (apt install postgresql)"
    if os.geteuid() == 0 and not _account():
        return "PostgreSQL does not run as root, and there is no user 'postgres' (apt install postgresql)"
    return None


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    binaries = _binaries()
    assert binaries is not None
    # Not pytest's own folder: that is closed to other users, and too long for a socket's name.
    folder = Path(tempfile.mkdtemp(prefix="perennial-pg-"))
    try:
        if account := _account():
            os.chown(folder, account["user"], account["group"])
        data = folder / "data"
        make = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C"]
        subprocess.run([*make, "-E", "UTF8"], check=True, capture_output=True, cwd=folder, **account)
        with _server([binaries / "postgres", "-D", data, "-k", folder], folder, account):
            yield Postgres(folder, count(1))
    finally:
        shutil.rmtree(folder)


@contextmanager
def _server(command: list[Path | str], folder: Path, account: dict[str, Any]) -> Iterator[None]:
    settings = [part for setting in FAST for part in ("-c", setting)]
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *settings],
            stdout=output,
            stderr=output,
            cwd=folder,
            preexec_fn=die_with_parent,  # noqa: PLW1509 no thread runs here that could hold a lock
            **account,
        )
    try:
        _wait(server, folder, log)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: it waits for no client
        server.wait(START_TIMEOUT_S)


def _wait(server: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(f"postgresql://postgres@/postgres?host={folder}").close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.05)


def _binaries() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    return Path(found).parent if found else None


def _account() -> dict[str, Any]:
    """Whom root starts PostgreSQL as; nothing for any other user."""
    if os.geteuid() != 0:
        return {}
    try:
        found = pwd.getpwnam("postgres")
    except KeyError:
        return {}
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
