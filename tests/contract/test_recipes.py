"""What every recipe promises: a student that is what its size says, learns, and is the same once saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perennial import plugins
from perennial.errors import ConfigError
from perennial.recipes._importance import most
from perennial.recipes.distill import spread
from tiny import LABELS, tiny_examples

EXAMPLES = tiny_examples(24)
STUDENTS = [(name, size) for name in plugins.names("recipes") for size in plugins.get("recipes", name).sizes]
every_student = pytest.mark.parametrize(("name", "size"), STUDENTS)


@pytest.fixture
def task() -> Any:
    return plugins.get("tasks/classify", "train")()


@pytest.fixture
def teacher(task: Any, tiny_release: Path) -> Any:
    return task.load(tiny_release / "checkpoint", LABELS)


def logits(task: Any, model: Any) -> Any:
    asked = {"input_ids": np.array([[2, 5, 6, 7, 3]]), "attention_mask": np.ones((1, 5), int)}
    return task.session(model).run(asked)["logits"]


def weights(model: Any) -> dict[str, Any]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(weight, other[name]) for name, weight in one.items()
    )


def taught(task: Any, student: Any, steps: int = 3) -> Any:
    """The student, after a few steps that move every weight that may move."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        task.loss(student, EXAMPLES).backward()
        optimizer.step()
    return student


@every_student
def test_a_student_is_made_and_its_teacher_stays_as_it_is(
    name: str, size: str, task: Any, teacher: Any
) -> None:
    before = weights(teacher)
    student = taught(task, plugins.get("recipes", name)().student(task, teacher, size, EXAMPLES))
    assert same(before, weights(teacher))
    assert not same(before, weights(student))


@every_student
def test_a_student_that_was_taught_and_saved_is_the_same_again(
    name: str, size: str, task: Any, teacher: Any, tmp_path: Path
) -> None:
    student = taught(task, plugins.get("recipes", name)().student(task, teacher, size, EXAMPLES))
    task.save(student, tmp_path / "once")
    again = task.load(tmp_path / "once", LABELS)
    assert np.array_equal(logits(task, student), logits(task, again))
    task.save(taught(task, again), tmp_path / "twice")
    assert np.array_equal(logits(task, again), logits(task, task.load(tmp_path / "twice", LABELS)))


def test_the_graph_of_a_pruned_student_is_smaller(
    task: Any, teacher: Any, tiny_release: Path, tmp_path: Path
) -> None:
    """And is its network: the export compares both."""
    task.export(plugins.get("recipes", "prune")().student(task, teacher, "half", EXAMPLES), tmp_path)
    saved = (tiny_release / "model.onnx").stat().st_size - (tmp_path / "model.onnx").stat().st_size
    layer = 4 * (4 * 32 * 32 + 2 * 32 * 64)  # bytes of the products of one of the two layers
    assert saved > 0.9 * layer


def test_a_distilled_student_has_the_last_of_its_teachers_layers(task: Any, teacher: Any) -> None:
    student = plugins.get("recipes", "distill")().student(task, teacher, "half", EXAMPLES)
    assert task.depth(student) == student.network.config.num_hidden_layers == 1
    kept, last = (
        weights(stack) for stack in (student.network.encoder.layer[0], teacher.network.encoder.layer[1])
    )
    assert same(kept, last)


def test_a_slim_student_has_three_of_four_neurons_of_its_layers(task: Any, teacher: Any) -> None:
    student = plugins.get("recipes", "distill")().student(task, teacher, "slim", EXAMPLES)
    (layer,) = student.network.encoder.layer
    assert layer.intermediate.dense.weight.shape == (48, 32)
    assert layer.attention.self.query.weight.shape == (32, 32)


@pytest.mark.parametrize(
    ("depth", "count", "kept"), [(6, 3, [1, 3, 5]), (6, 2, [2, 5]), (12, 4, [2, 5, 8, 11]), (5, 2, [1, 4])]
)
def test_layers_are_kept_evenly_and_the_last_among_them(depth: int, count: int, kept: Sequence[int]) -> None:
    assert spread(depth, count) == kept


def test_a_pruned_student_keeps_what_the_loss_hangs_on(task: Any, teacher: Any) -> None:
    """A head and neurons that give nothing are the first to go, and are missed by nobody."""
    for layer in teacher.network.encoder.layer:
        layer.attention.output.dense.weight.data[:, :16] = 0.0
        layer.output.dense.weight.data[:, 32:] = 0.0
    heads, neurons = task.importance(teacher, EXAMPLES)
    assert [most(layer, 0.5) for layer in heads] == [[1], [1]]
    assert [most(layer, 0.5) for layer in neurons] == [list(range(32))] * 2
    student = plugins.get("recipes", "prune")().student(task, teacher, "half", EXAMPLES)
    np.testing.assert_allclose(logits(task, student), logits(task, teacher), atol=1e-5)


def test_two_of_four_weights_are_zero_and_stay_so_while_a_student_learns(task: Any, teacher: Any) -> None:
    student = plugins.get("recipes", "sparsity")().student(task, teacher, "2-of-4", EXAMPLES)
    for model in (student, taught(task, student)):
        for weight in task.matrices(model):
            assert (weight.unflatten(1, (-1, 4)) != 0).sum(2).max() == 2


def test_a_network_whose_heads_are_not_found_is_refused_in_one_line(task: Any, tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    from tiny import tiny_tokenizer

    DistilBertModel(
        DistilBertConfig(
            vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64
        )
    ).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), pad_token="[PAD]").save_pretrained(tmp_path)
    model = task.load(tmp_path, LABELS)
    with pytest.raises(ConfigError, match="cannot be told apart; compress it by the recipes distill"):
        plugins.get("recipes", "prune")().student(task, model, "half", EXAMPLES)
    assert task.depth(plugins.get("recipes", "distill")().student(task, model, "half", EXAMPLES)) == 1
