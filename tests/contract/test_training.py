"""Claims about the training loop, on every learner and a real, tiny transformer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from perennial import plugins
from perennial.errors import TrainingFailed
from perennial.jobs.training import Material, Options, Report, train
from perennial.types import Example, Scores
from tiny import LABELS, tiny_examples

ROWS = tiny_examples(180)
PLENTY = Material(fresh=ROWS[:120], old=ROWS[120:150], validation=ROWS[150:])
MATERIAL = replace(PLENTY, fresh=ROWS[:24])
OPTIONS = Options(epochs=2, learning_rate=3e-3, trainable_layers=1, seed=1)

Train = Callable[..., tuple[Report, torch.nn.Module]]


@pytest.fixture
def trained(tiny_encoder: Path, tmp_path: Path) -> Train:
    """Trains the tiny encoder; keywords change the options, `task` and `learner` take the place of ours."""

    def run(
        name: str = "replay",
        material: Material = MATERIAL,
        task: Any = None,
        progress: Any = None,
        **told: Any,
    ) -> tuple[Report, torch.nn.Module]:
        task = task or classify()
        learner = plugins.get("learners", name)(batch_size=8, seed=1)
        model = task.load(tiny_encoder, LABELS)
        options = replace(OPTIONS, **told)
        ignore = progress or (lambda done, total, message: None)
        report = train(task, learner, model, material, options, folder=tmp_path / "board", progress=ignore)
        return report, model

    return run


def classify() -> Any:
    return plugins.get("tasks/classify", "train")()


class Judge:
    """The real task, but validation says what it is told, one value an epoch."""

    def __init__(self, values: Sequence[float]) -> None:
        self._task, self._values = classify(), iter(values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def score(self, model: torch.nn.Module, examples: Sequence[Example]) -> Scores:
        assert not model.training
        return Scores({"macro_f1": next(self._values)}, self._task.score(model, examples).correct)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = weights(other)
    return all(torch.equal(weight, theirs[name]) for name, weight in weights(one).items())


@pytest.mark.parametrize("name", plugins.names("learners"))
def test_every_learner_teaches(name: str, trained: Train) -> None:
    own: dict[str, Any] = {
        "sgd": {"learning_rate": 0.05, "max_steps": 720},
        "ader": {"epochs": 12},  # of old rows it is told nothing, but what a fresh head answers; so is dpo
        "dpo": {"epochs": 12},
    }
    how = {"epochs": 6, "patience": 12, **own.get(name, {})}
    report, model = trained(name, PLENTY, **how)
    assert (report.stopped, report.epochs) == ("done", how["epochs"])
    assert report.before["macro_f1"] < 0.3
    assert report.after["macro_f1"] > 0.5
    assert classify().score(model, MATERIAL.validation).metrics == report.after


def test_the_same_inputs_and_seed_give_the_same_weights(trained: Train) -> None:
    one, other, third = (trained(task=Judge([0.1, 0.2]), epochs=1, seed=seed)[1] for seed in (1, 1, 2))
    assert same(one, other)
    assert not same(one, third)


def test_a_step_of_more_batches_is_one_of_fewer_steps(trained: Train) -> None:
    steps = [trained(task=Judge([0.1, 0.2]), epochs=1, accumulate=batches)[0].steps for batches in (1, 2, 99)]
    assert steps[0] > 3 and steps[1:] == [-(-steps[0] // 2), 1]


def test_it_learns_in_bfloat16_and_leaves_float32(trained: Train) -> None:
    report, model = trained(material=PLENTY, epochs=6, patience=6, precision="bf16")
    assert report.after["macro_f1"] > 0.5
    assert {weight.dtype for weight in weights(model).values() if weight.is_floating_point()} == {
        torch.float32
    }


def test_what_is_frozen_stands_still(trained: Train, tiny_encoder: Path) -> None:
    _, model = trained(task=Judge([0.1, 0.2]), epochs=1)
    before = weights(classify().load(tiny_encoder, LABELS))
    moved = {name for name, weight in weights(model).items() if not torch.equal(weight, before[name])}
    assert moved and not [name for name in moved if "embeddings" in name or "layer.0." in name]


def test_a_candidate_of_lora_is_a_network_like_its_parent(trained: Train, tiny_encoder: Path) -> None:
    """Its best weights are those that answer, after what was added to them became a part of them."""
    report, model = trained("derpp", epochs=3, trainable="lora")
    assert list(weights(model)) == list(weights(classify().load(tiny_encoder, LABELS)))
    assert classify().score(model, MATERIAL.validation).metrics == report.after


def test_the_best_weights_are_kept_and_training_stops_when_nothing_gets_better(trained: Train) -> None:
    report, model = trained(task=Judge([0.1, 0.7, 0.6, 0.7]), epochs=9)
    assert (report.stopped, report.epochs, report.best_epoch) == ("no better", 3, 1)
    assert (report.before, report.after) == ({"macro_f1": 0.1}, {"macro_f1": 0.7})
    _, after_one = trained(task=Judge([0.1, 0.7, 0.8, 0.8, 0.8]), epochs=9)
    assert not same(model, after_one)


def test_the_weights_it_began_with_are_no_candidate(trained: Train, tiny_encoder: Path) -> None:
    report, model = trained(task=Judge([0.9, 0.5, 0.5]))
    assert (report.best_epoch, report.after) == (1, {"macro_f1": 0.5})
    assert not same(model, classify().load(tiny_encoder, LABELS))


def test_out_of_time_it_stops_within_a_step_and_says_so(trained: Train) -> None:
    report, _ = trained(max_seconds=0.0)
    assert (report.stopped, report.epochs, report.steps) == ("out of time", 1, 1)


def test_a_loss_that_is_not_a_number_is_one_clear_error(trained: Train) -> None:
    class Poisoned(Judge):
        def loss(self, model: torch.nn.Module, batch: Sequence[Example]) -> torch.Tensor:
            return self._task.loss(model, batch) * math.nan

    with pytest.raises(TrainingFailed, match=r"the loss is nan .* lower the learning rate"):
        trained(task=Poisoned([0.1]))


def test_without_validation_rows_it_does_not_begin(trained: Train) -> None:
    with pytest.raises(TrainingFailed, match="no validation rows"):
        trained(material=replace(MATERIAL, validation=[]))


@pytest.mark.parametrize("name", plugins.names("learners"))
def test_without_rows_to_learn_it_does_not_begin(name: str, trained: Train) -> None:
    with pytest.raises(TrainingFailed, match="no batch of 0 fresh rows"):
        trained(name, replace(MATERIAL, fresh=[]))


def test_progress_counts_up_to_the_steps_planned(trained: Train) -> None:
    seen: list[tuple[int, int, str]] = []
    report, _ = trained("finetune", progress=lambda *told: seen.append(told))
    assert [done for done, _, _ in seen] == list(range(1, report.steps + 1))
    assert {total for _, total, _ in seen} == {report.steps}
    assert "epoch 2 of 2, loss" in seen[-1][2]


def test_the_board_gets_loss_rate_and_macro_f1(trained: Train, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report, _ = trained()
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    values = {tag: [event.value for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    assert len(values["train/loss"]) == report.steps
    assert len(values["validation/macro_f1"]) == report.epochs + 1
    rates = values["train/learning_rate"]
    assert rates[0] < max(rates) <= OPTIONS.learning_rate and rates[-1] < 0.2 * max(rates)
