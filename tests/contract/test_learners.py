"""Claims about every learner's batches, and about what each mixes in."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial import plugins
from perennial.types import Example

every_learner = pytest.mark.parametrize("name", plugins.names("learners"))


def rows(source: str, count: int, words: int = 0) -> list[Example]:
    return [
        Example(f"{source} {number} " + "word " * (number % (words or 1)), "x") for number in range(count)
    ]


def learner(name: str, batch_size: int = 8, seed: int = 0) -> Any:
    return plugins.get("learners", name)(batch_size=batch_size, seed=seed)


@every_learner
@given(fresh=st.integers(0, 60), old=st.integers(0, 60), batch_size=st.integers(2, 9), seed=st.integers(0, 3))
def test_an_epoch_has_each_fresh_row_once_in_batches_of_the_size(
    name: str, fresh: int, old: int, batch_size: int, seed: int
) -> None:
    new, known = rows("new", fresh), rows("old", old)
    batches = list(learner(name, batch_size, seed).batches(new, known))
    seen = Counter(row for batch in batches for row in batch)
    assert all(seen[row] == 1 for row in new)
    assert set(seen) <= {*new, *known}
    assert all(0 < len(batch) <= batch_size for batch in batches)


@every_learner
def test_learners_made_alike_give_the_same_epochs_and_each_epoch_is_another(name: str) -> None:
    new, known = rows("new", 50), rows("old", 50)
    one, other = learner(name), learner(name)
    first = list(one.batches(new, known))
    assert first == list(other.batches(new, known))
    second = list(one.batches(new, known))
    assert second == list(other.batches(new, known)) != first
    assert list(learner(name, seed=1).batches(new, known)) != first


@every_learner
def test_texts_of_like_length_share_a_batch(name: str) -> None:
    """Padding of a shuffled epoch is about half of all tokens here; bucketed it must be far less."""
    batches = list(learner(name).batches(rows("new", 400, words=40), rows("old", 400, words=40)))
    padded = sum(len(batch) * max(len(row.text) for row in batch) for batch in batches)
    assert sum(len(row.text) for batch in batches for row in batch) > 0.9 * padded


@every_learner
def test_its_loss_is_the_tasks(name: str) -> None:
    class Task:
        def loss(self, model: str, batch: list[Example]) -> tuple[str, int]:
            return model, len(batch)

    strategy = learner(name)
    assert strategy.loss(Task(), "model", rows("new", 3)) == ("model", 3)
    strategy.after("model")


def test_finetune_learns_fresh_rows_only() -> None:
    batches = learner("finetune").batches(rows("new", 20), rows("old", 20))
    assert {row for batch in batches for row in batch} == set(rows("new", 20))


@pytest.mark.parametrize("old", [3, 20, 200])
def test_replay_mixes_half_and_half_and_uses_the_memory_evenly(old: int) -> None:
    known = rows("old", old)
    batches = list(learner("replay").batches(rows("new", 20), known))
    assert all(sum(row in known for row in batch) * 2 == len(batch) for batch in batches)
    times = Counter(row for batch in batches for row in batch if row in known)
    assert max(times.values()) - min(times[row] for row in known) <= 1


def test_replay_forgets_what_a_fresh_row_corrects() -> None:
    stale, new = Example("old 3", "x"), Example("Old  3", "y")
    batches = learner("replay").batches([new, *rows("new", 30)], [stale, *rows("old", 2)])
    assert stale not in {row for batch in batches for row in batch}
