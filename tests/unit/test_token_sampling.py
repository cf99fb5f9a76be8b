"""How the next token is chosen: as in the field's other samplers, and nothing outside it."""

from __future__ import annotations

import numpy as np
import pytest

from perennial.writing.request import Options
from perennial.writing.sampling import Sampler

LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def drawn(how: Options, count: int = 4000, written: tuple[int, ...] = ()) -> np.ndarray:
    sampler = Sampler(how)
    return np.bincount([sampler.choose(LOGITS, written) for _ in range(count)], minlength=len(LOGITS)) / count


def test_without_a_temperature_it_is_the_likeliest() -> None:
    assert Sampler(Options()).choose(LOGITS, []) == 0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_probabilities_say(temperature: float) -> None:
    wanted = np.exp(LOGITS / temperature) / np.exp(LOGITS / temperature).sum()
    assert drawn(Options(temperature=temperature, seed=1)) == pytest.approx(wanted, abs=0.03)


def test_top_k_and_top_p_leave_the_likeliest() -> None:
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum()
    assert drawn(Options(temperature=1.0, top_k=2))[2:].sum() == 0
    assert drawn(Options(temperature=1.0, top_p=float(shares[0]) + 0.01))[2:].sum() == 0, (
        "the one that crosses it is in"
    )
    assert drawn(Options(temperature=1.0, top_p=0.01)).tolist() == [1, 0, 0, 0, 0, 0]


def test_top_p_counts_among_what_top_k_leaves() -> None:
    two = np.exp(LOGITS[:2]) / np.exp(LOGITS[:2]).sum()
    assert drawn(Options(temperature=1.0, top_k=2, top_p=float(two[0]) - 0.01))[1:].sum() == 0


def test_what_stands_in_the_text_is_less_likely_by_the_penalty() -> None:
    assert Sampler(Options(repetition_penalty=3.0)).choose(LOGITS, [0]) == 1
    changed = LOGITS.copy()
    changed[[0, 4]] = [1.0, -2.0]
    wanted = np.exp(changed) / np.exp(changed).sum()
    assert drawn(Options(temperature=1.0, repetition_penalty=2.0), written=(0, 4, 4)) == pytest.approx(
        wanted, abs=0.03
    )


def test_a_seed_chooses_the_same_tokens_again() -> None:
    one, two, other = (Sampler(Options(temperature=1.0, seed=seed)) for seed in (7, 7, 8))
    chosen = [[sampler.choose(LOGITS, []) for _ in range(20)] for sampler in (one, two, other)]
    assert chosen[0] == chosen[1] != chosen[2]
