"""Claims about what the guard removes, and what it hides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perennial.server import guard


def test_only_the_regions_of_one_server_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SHARED_MEMORY", tmp_path)
    kept = [tmp_path / "perennial_other_1", tmp_path / "anyone"]
    for region in [*kept, tmp_path / "perennial_mine_1", tmp_path / "perennial_mine_2"]:
        region.touch()
    guard.remove_regions("perennial_mine_")
    assert sorted(tmp_path.iterdir()) == sorted(kept)


@pytest.mark.parametrize("prefix", ["", "perennial_", "sem.", "/"])
def test_a_prefix_that_others_may_have_removes_nothing(prefix: str) -> None:
    with pytest.raises(ValueError, match="not the prefix of one server"):
        guard.remove_regions(prefix)


def test_the_secret_is_overwritten_in_a_command_line() -> None:
    code = "import sys; print(sys.argv[1]); input(); print(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--key=s3cret", "--again=s3cret"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == "--key=s3cret\n"
        guard.hide(process.pid, b"s3cret")
        seen = Path(f"/proc/{process.pid}/cmdline").read_text()
        said, _ = process.communicate("\n")
    assert "s3cret" not in seen and "--key=******\0--again=******" in seen
    assert said == "--key=s3cret\n", "the process has read it"
