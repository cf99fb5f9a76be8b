"""Claims about what the embedded server needs, and what is said where it is missing."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pytest

from perennial.server import embedded


@pytest.fixture
def here() -> embedded.Installation:
    if reason := embedded.unavailable():
        pytest.skip(reason)
    return embedded.find()


def test_another_machine_is_sent_to_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "aarch64; run the container" in (embedded.unavailable() or "")


def test_a_missing_wheel_is_named_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    assert "pip install 'perennial[embedded]'" in (embedded.unavailable() or "")


def test_a_python_without_a_stub_is_told_which_have_one(
    here: embedded.Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PYTHON", "3.99")
    assert "serves Python 3.10, 3.11, 3.12" in (embedded.unavailable() or "")


def test_numpy_2_is_refused(here: embedded.Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "version", lambda name: "2.1.0")
    assert "pip install 'numpy<2'" in (embedded.unavailable() or "")
    assert metadata.version("numpy").startswith("1.")


def test_a_missing_libpython_is_told_where_it_was_looked_for(
    here: embedded.Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr("sys.base_prefix", str(tmp_path / "base"))
    monkeypatch.setattr(subprocess, "run", _no_ldconfig)
    said = embedded.unavailable() or ""
    assert f"{tmp_path}, {tmp_path}/base/lib; install it" in said


def test_libpython_is_found_in_the_linkers_cache(
    here: embedded.Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / embedded.LIBPYTHON).touch()
    line = f"\t{embedded.LIBPYTHON} (libc6,x86-64) => {tmp_path}/{embedded.LIBPYTHON}\n"
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "")
    monkeypatch.setattr("sys.base_prefix", str(tmp_path / "base"))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess((), 0, stdout=line))
    assert embedded.find().libpython == tmp_path / embedded.LIBPYTHON


def test_the_backend_folder_holds_what_a_stub_imports(here: embedded.Installation, tmp_path: Path) -> None:
    for _ in range(2):
        embedded.assemble(here, tmp_path)
    python = tmp_path / "python"
    assert (python / "triton_python_backend_stub").resolve() == here.stub.resolve()
    assert (python / "perennial" / "errors.py").is_file()
    assert len(list(python.iterdir())) == 5 and all(path.exists() for path in python.iterdir())


def test_the_stub_meets_this_environment_first(here: embedded.Installation, tmp_path: Path) -> None:
    """From Python 3.11 on it takes the first python3 on PATH for its own, and ignores PYTHONPATH."""
    variables = embedded.environment(here, tmp_path)
    first = Path(variables["PATH"].split(os.pathsep)[0])
    assert (first / "python3").exists()
    assert str(here.libraries) in variables["LD_LIBRARY_PATH"].split(os.pathsep)


def _no_ldconfig(*_: Any, **__: Any) -> None:
    raise FileNotFoundError("/sbin/ldconfig")
