"""The pictures of the benches of services that write, from figures as the benches have them."""

from __future__ import annotations

from pathlib import Path

from perennial_perf.benches._writing_plots import draw_speed, draw_taught


def test_pictures_are_drawn_whole(tmp_path: Path) -> None:
    row = {
        "tokens/s": 9.0, "first ms, p50": 4.0, "first ms, p99": 8.0, "then ms, p50": 1.0, "then ms, p99": 2.0,
        "most ms": 3.0,
    }  # fmt: skip
    draw_speed({1: row, 8: row}, {"transformers": 3.0}, {"most": 5.0}, tmp_path / "speed.png")
    shares = {"held out": {"as built": 0.0, "after a rebuild": 0.8}, "corrected": {"at once": 0.9}}
    draw_taught(shares, tmp_path / "taught.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.png", "taught.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
