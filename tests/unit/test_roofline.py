"""What a machine could do at best, counted by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perennial import machine
from perennial_perf.roofline import Chip, Encoder

SCRIPT = Path(__file__).parents[2] / "perf/gpu.py"
ENCODER = Encoder("two layers", layers=2, hidden=10, inner=40)


def test_work_grows_with_rows_and_faster_with_tokens() -> None:
    a_token = 2 * 2 * (4 * 100 + 2 * 400)  # two layers, two operations, six matrices
    assert ENCODER.flops(1, 1) == a_token + 2 * 2 * 2 * 10
    assert ENCODER.flops(3, 7) == 3 * ENCODER.flops(1, 7)
    assert ENCODER.flops(1, 7) == 7 * a_token + 49 * 2 * 2 * 2 * 10


def test_weights_cross_the_memory_once_whatever_the_batch() -> None:
    once, twice, thrice = (ENCODER.numbers(rows, 5) for rows in (1, 2, 3))
    assert thrice - twice == twice - once == 2 * 2 * 5 * (6 * 10 + 40)
    assert once - (twice - once) == 2 * (4 * 100 + 2 * 400)


def test_bert_base_is_known_to_take_22_gigaflops_for_128_tokens() -> None:
    assert Encoder("BERT-base", 12, 768, 3072).flops(1, 128) == pytest.approx(22.3e9, rel=0.01)


def test_a_limit_is_of_the_precision() -> None:
    chip = Chip({"fp32": 1e6, "int8": 4e6}, bandwidth=1e6)
    full, small = (chip.limits_ms(ENCODER, name, 2, 3) for name in ("fp32", "int8-static"))
    assert full == (1e3 * ENCODER.flops(2, 3) / 1e6, 1e3 * ENCODER.numbers(2, 3) * 4 / 1e6)
    assert (full[0] / small[0], full[1] / small[1]) == (4, 4)


@pytest.mark.skipif(machine.gpu_missing() is None, reason="here is a GPU")
def test_the_script_says_in_one_line_that_there_is_no_gpu() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "NVIDIA" in done.stderr and "`--device cpu`" in done.stderr and done.stderr.count("\n") == 1
