"""The tritonserver that the wheel `nvidia-pytriton` brings: where its parts are, and whether they run here.

Knows what a model's Python process (Triton's "stub") needs to find this environment; leaves starting the
server to `process`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import perennial
from perennial.errors import Unavailable

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBPYTHON = f"libpython{PYTHON}.so.1.0"
STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Installation:
    """The parts of the wheel that serve this Python, and the libpython that its stub loads."""

    server: Path
    backend: Path
    caches: Path
    stub: Path
    libraries: Path
    libpython: Path


def unavailable() -> str | None:
    """None where the embedded server runs, or why it does not and the way out."""
    try:
        find()
    except Unavailable as reason:
        return str(reason)
    return None


def find() -> Installation:
    """The installation; `Unavailable` with the first thing that is missing."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable(
            f"the embedded tritonserver is built for Linux on x86_64, this is {sys.platform} on "
            f"{platform.machine()}; run the container (docker/)"
        )
    wheel = importlib.util.find_spec("pytriton")
    if wheel is None or wheel.origin is None:
        raise Unavailable(
            "the embedded tritonserver is not installed; install it with pip install 'perennial[embedded]'"
        )
    package = Path(wheel.origin).parent
    parts = package / "tritonserver"
    stub = parts / "python_backend_stubs" / PYTHON / STUB
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in stub.parents[1].glob("3.*")))
        raise Unavailable(
            f"nvidia-pytriton serves Python {known}, not {PYTHON}; make the environment with one of them"
        )
    if int(version("numpy").split(".")[0]) >= 2:
        raise Unavailable(
            f"numpy is {version('numpy')}, and with 2 or later the first text kills Triton's Python backend; "
            "pip install 'numpy<2'"
        )
    return Installation(
        server=parts / "bin" / "tritonserver",
        backend=parts / "backends" / "python",
        caches=parts / "caches",
        stub=stub,
        libraries=package.parent / "nvidia_pytriton.libs",
        libpython=_libpython(),
    )


def assemble(installation: Installation, folder: Path) -> Path:
    """Make `folder` the backend directory for this Python, of links alone.

    Triton puts its `python/` on the import path of every model, which is how models find `perennial`
    however it was installed.
    """
    python = folder / "python"
    python.mkdir(parents=True, exist_ok=True)
    backend = installation.backend
    targets = [
        backend / "libtriton_python.so",
        backend / "triton_python_backend_utils.py",
        installation.stub,
        Path(perennial.__file__).parent,
    ]
    for target in targets:
        _link(python / target.name, target)
    _link(python / LIBPYTHON, installation.libpython)
    return folder


def environment(installation: Installation, backends: Path) -> dict[str, str]:
    """What the server must be told so that it and its stubs find their libraries and this environment.

    From Python 3.11 on the stub ignores PYTHONPATH and PYTHONHOME: it finds its environment, .pth files
    included, only as the first `python3` on PATH.
    """
    libraries = [installation.libraries, backends / "python"]
    return {
        "LD_LIBRARY_PATH": _joined(libraries, os.environ.get("LD_LIBRARY_PATH")),
        "PATH": _joined([Path(sys.executable).parent], os.environ.get("PATH", os.defpath)),
    }


def _libpython() -> Path:
    looked = list(dict.fromkeys(_library_folders()))
    for folder in looked:
        if (folder / LIBPYTHON).is_file():
            return folder / LIBPYTHON
    raise Unavailable(
        f"{LIBPYTHON}, which Triton's Python backend loads, is in none of {', '.join(map(str, looked))}; "
        f"install it (Debian, Ubuntu: apt install libpython{PYTHON}) or use a Python that has it (uv, conda; "
        "pyenv with PYTHON_CONFIGURE_OPTS=--enable-shared)"
    )


def _library_folders() -> Iterator[Path]:
    """Where libpython may be, the running Python's own folders first."""
    libdir, multiarch = (sysconfig.get_config_var(name) or "" for name in ("LIBDIR", "MULTIARCH"))
    if libdir:
        yield Path(libdir)
        yield Path(libdir, multiarch)
    yield Path(sys.base_prefix, "lib")
    yield from _cached_folders()


def _cached_folders() -> Iterator[Path]:
    """The folders of the system's linker cache that hold the library."""
    try:
        listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return
    for line in listing.splitlines():
        name, _, path = line.partition(" => ")
        if name.split()[:1] == [LIBPYTHON]:
            yield Path(path).parent


def _link(link: Path, target: Path) -> None:
    """Point `link` at `target`, in one step for whoever reads it meanwhile."""
    part = link.with_name(f".{link.name}.{os.getpid()}")
    part.symlink_to(target)
    part.replace(link)


def _joined(first: list[Path], rest: str | None) -> str:
    return os.pathsep.join([*map(str, first), *([rest] if rest else [])])
