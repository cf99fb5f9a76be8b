"""Claims about every learner's batches, and about what each mixes in."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perennial import plugins
from perennial.types import Example
from tiny import LABELS, tiny_examples, tiny_writer

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
    assert sum(len(row.text) for batch in batches for row in batch) > 0.85 * padded


def test_finetune_learns_fresh_rows_only() -> None:
    batches = learner("finetune").batches(rows("new", 20), rows("old", 20))
    assert {row for batch in batches for row in batch} == set(rows("new", 20))


def test_a_small_memory_is_replayed_as_often_as_what_is_fresh() -> None:
    fresh, known = rows("new", 120), rows("old", 20)
    batches = list(learner("replay").batches(fresh, known))
    counts = Counter(row for batch in batches for row in batch)
    assert [counts[row] for row in fresh] == [1] * 120
    assert {counts[row] for row in known} <= {0, 1, 2} and sum(counts[row] for row in known) == len(batches)


@pytest.mark.parametrize(
    ("name", "old"),
    [*product(["replay_balanced", "derpp"], [3, 20, 200]), ("replay", 20), ("replay", 200)],
)
def test_replay_mixes_half_and_half_and_uses_the_memory_evenly(old: int, name: str) -> None:
    known = rows("old", old)
    batches = list(learner(name).batches(rows("new", 20), known))
    assert all(sum(row in known for row in batch) * 2 == len(batch) for batch in batches)
    times = Counter(row for batch in batches for row in batch if row in known)
    assert max(times.values()) - min(times[row] for row in known) <= 1


@pytest.mark.parametrize("name", ["replay", "replay_balanced", "derpp"])
def test_replay_forgets_what_a_fresh_row_corrects(name: str) -> None:
    stale, new = Example("old 3", "x"), Example("Old  3", "y")
    batches = learner(name).batches([new, *rows("new", 30)], [stale, *rows("old", 2)])
    assert stale not in {row for batch in batches for row in batch}


@pytest.mark.parametrize(("name", "rare"), [("replay", 4), ("replay_balanced", 20)])
def test_a_balanced_memory_replays_a_rare_label_as_often_as_the_others(name: str, rare: int) -> None:
    known = [*rows("old", 54), *(replace(row, label="rare") for row in rows("rare", 6))]
    epoch = [row for batch in learner(name).batches(rows("new", 40), known) for row in batch]
    drawn = Counter(row.label for row in epoch if not row.text.startswith("new"))
    assert drawn.total() == 40
    assert abs(drawn["rare"] - rare) <= 2
    assert len({row.text for row in epoch if row.label == "rare"}) <= 6


def test_sgd_takes_a_step_for_each_row() -> None:
    assert {len(batch) for batch in learner("sgd").batches(rows("new", 20), rows("old", 20))} == {1}


NEW, OLD = tiny_examples(6), [Example(f"{row.text} again", row.label) for row in tiny_examples(12)[6:]]
"""Each label is twice in either."""


@pytest.fixture
def task() -> Any:
    return plugins.get("tasks/classify", "train")()


@pytest.fixture
def model(task: Any, tiny_encoder: Path) -> Any:
    """With a head that prefers something, and without dropout, so that what it answers is one thing."""
    model = task.load(tiny_encoder, LABELS).eval()
    torch.manual_seed(0)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    return model


def value(loss: torch.Tensor) -> float:
    return float(loss.detach())


def prepared(name: str, task: Any, model: Any, old: Sequence[Example] = OLD) -> Any:
    strategy = learner(name)
    strategy.prepare(task, model, NEW, old)
    return strategy


@pytest.mark.parametrize("name", ["sgd", "finetune", "replay", "replay_balanced"])
def test_most_learn_the_tasks_own_loss(name: str, task: Any, model: Any) -> None:
    batch = [*NEW, *OLD]
    assert value(prepared(name, task, model).loss(task, model, batch)) == value(task.loss(model, batch))


@pytest.mark.parametrize("name", ["derpp", "distill"])
def test_what_the_serving_release_answers_is_computed_once(name: str, task: Any, model: Any) -> None:
    """The target stays where it was while the model moves, and nothing flows back into it."""
    strategy = prepared(name, task, model)
    before = value(strategy.loss(task, model, [*NEW]))
    for weight in model.head.parameters():
        weight.data.neg_()
    strategy.loss(task, model, [*NEW]).backward()
    assert all(not answer.requires_grad for answer in strategy._answered.values())
    assert before != pytest.approx(value(strategy.loss(task, model, [*NEW]).detach()))


def test_distill_adds_nothing_while_the_answers_are_the_serving_ones(task: Any, model: Any) -> None:
    strategy = prepared("distill", task, model, old=[])
    own = value(task.loss(model, NEW))
    assert value(strategy.loss(task, model, NEW)) == pytest.approx(own, rel=0.02)  # bfloat16
    model.head.bias.data += torch.tensor([2.0, 0.0, -2.0])
    assert value(strategy.loss(task, model, NEW)) > value(task.loss(model, NEW)) + 0.5


def test_ader_holds_remembered_rows_to_the_serving_answers_the_less_the_more_is_fresh(
    task: Any, model: Any
) -> None:
    few, many = prepared("ader", task, model), learner("ader")
    many.prepare(task, model, [*NEW, *tiny_examples(60)[12:30]], OLD)
    own = value(task.loss(model, NEW))
    assert value(few.loss(task, model, [*NEW, *OLD])) == pytest.approx(own, rel=0.02)
    model.head.bias.data += torch.tensor([2.0, 0.0, -2.0])
    own = value(task.loss(model, NEW))
    held, hardly = (value(one.loss(task, model, [*NEW, *OLD])) - own for one in (few, many))
    assert held > 0.2 and hardly == pytest.approx(held / 2, rel=0.02)


def test_derpp_holds_old_rows_to_their_labels_and_to_the_serving_answers(task: Any, model: Any) -> None:
    """With α .3 and β .5; α counts once the answers have moved."""
    strategy = prepared("derpp", task, model)
    own = value(task.loss(model, NEW)) + 0.5 * value(task.loss(model, OLD))
    assert value(strategy.loss(task, model, [*NEW, *OLD])) == pytest.approx(own, rel=0.02)
    model.head.bias.data += 2.0  # to which cross entropy is blind
    assert value(strategy.loss(task, model, [*NEW, *OLD])) == pytest.approx(own + 0.3 * 4.0, rel=0.02)


def test_the_fresh_half_of_derpp_moves_no_label_that_it_does_not_show(task: Any, model: Any) -> None:
    """ER-ACE: nothing but the old half may push an absent label down."""
    shown = [row for row in NEW if row.label != LABELS[2]]
    strategy = prepared("derpp", task, model)
    strategy.loss(task, model, [*shown, replace(OLD[0], weight=0.0)]).backward()
    slopes = model.head.bias.grad
    assert slopes[:2].abs().min() > 1e-4
    assert slopes[2].abs() < 1e-4
    alone = prepared("derpp", task, model, old=[])
    assert value(alone.loss(task, model, shown)) == value(task.loss(model, shown)), "nothing to shield"


@pytest.fixture
def writer(tmp_path: Path) -> tuple[Any, Any]:
    task = plugins.get("tasks/generate", "train")()
    return task, task.load(tiny_writer(tmp_path / "writer"), [])


def test_dpo_makes_the_wanted_answer_likelier_than_the_rejected_one(writer: tuple[Any, Any]) -> None:
    """At first the answers are as likely as the serving release holds them: -log(1/2) for each pair."""
    task, model = writer
    pair = Example("is it?", json.dumps({"wanted": "yes", "rejected": "no"}))
    plain = Example("and now?", "now")
    strategy = learner("dpo")
    strategy.prepare(task, model, [pair, plain], [])
    own = value(task.loss(model, [pair, plain]))
    assert value(strategy.loss(task, model, [pair, plain])) == pytest.approx(own + math.log(2) / 2, rel=1e-4)
    assert value(strategy.loss(task, model, [plain])) == value(task.loss(model, [plain]))
    before = task.compared(model, [pair, plain])[1]
    assert before.shape == (1,)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(10):
        optimizer.zero_grad()
        (strategy.loss(task, model, [pair]) - task.loss(model, [pair])).backward()
        optimizer.step()
    assert value(task.compared(model, [pair])[1]) > value(before) + 1


def test_dpo_holds_what_is_remembered_to_what_the_serving_release_says(writer: tuple[Any, Any]) -> None:
    """Nothing at first, whatever the label; then the more the farther it went."""
    task, model = writer
    fresh, old = Example("is it?", "yes"), Example("and now?", json.dumps({"wanted": "now", "goes_on": True}))
    strategy = learner("dpo")
    strategy.prepare(task, model, [fresh], [old, Example("what?", json.dumps({"rejected": "no"}))])
    assert value(strategy.loss(task, model, [old])) == pytest.approx(0.0, abs=1e-5)
    assert value(strategy.loss(task, model, [fresh, old])) == pytest.approx(
        value(task.loss(model, [fresh])) / 2
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        task.loss(model, [fresh]).backward()
        optimizer.step()
    away = value(strategy.loss(task, model, [old]))
    for _ in range(5):
        optimizer.zero_grad()
        strategy.loss(task, model, [old]).backward()
        optimizer.step()
    assert 0 < value(strategy.loss(task, model, [old])) < away / 2


def test_what_is_corrected_is_held_to_nothing(writer: tuple[Any, Any]) -> None:
    task, model = writer
    old, fresh = Example("is it?", "yes"), Example("is it?", "no")
    strategy = learner("dpo")
    strategy.prepare(task, model, [fresh], [old])
    assert value(strategy.loss(task, model, [fresh])) == pytest.approx(value(task.loss(model, [fresh])))


def test_a_text_that_goes_on_is_not_taught_to_end(writer: tuple[Any, Any]) -> None:
    task, model = writer
    whole, begun = Example("is it?", "yes"), Example("is it?", json.dumps({"wanted": "yes", "goes_on": True}))
    assert task.pieces(model, [whole, begun]) == [
        len(task.columns(model, [whole])),
        task.pieces(model, [begun])[0],
    ]
    assert task.pieces(model, [whole])[0] == task.pieces(model, [begun])[0] + 1
    assert task.columns(model, [whole])[-1] == model.ends[0]
    assert len(task.logits(model, [whole, begun])) == sum(task.pieces(model, [whole, begun]))


def test_what_a_model_would_write_itself_it_recites(writer: tuple[Any, Any]) -> None:
    task, model = writer
    likely, right = task.recite(model, [Example("is it?", "yes"), Example("is it?", "no")])
    assert likely.shape == right.shape == (2,) and (likely > 0).all() and (right < 1).all()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        task.loss(model, [Example("is it?", "yes")]).backward()
        optimizer.step()
    likelier, right = task.recite(model, [Example("is it?", "yes"), Example("is it?", "no")])
    assert right[0] == 1 > right[1] and likelier[0] > likely[0]


def test_what_is_only_rejected_teaches_nothing_by_itself(writer: tuple[Any, Any]) -> None:
    task, model = writer
    rejected = Example("is it?", json.dumps({"rejected": "no"}))
    assert value(task.loss(model, [rejected])) == 0.0
    assert value(task.loss(model, [rejected, Example("and now?", "now")])) == pytest.approx(
        value(task.loss(model, [Example("and now?", "now")])), rel=1e-5
    )
    assert len(task.compared(model, [rejected])[1]) == 0
