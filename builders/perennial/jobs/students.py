"""The students of a compression: which there are, what they learn from, and where each of them lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from perennial import plugins
from perennial.jobs import data, teaching, training
from perennial.jobs.run import Result, Run
from perennial.jobs.workshop import cores, trainable
from perennial.protocols import Recipe
from perennial.task_protocol import Compressible

BATCH_SIZE = 32
MOST_SECONDS = 6 * 3600.0
"""A guard alone: a student that it ends is not repeatable."""


@dataclass(frozen=True)
class Student:
    """One size of one recipe; `name` is its step, and its folder, in which it lies as a candidate does."""

    recipe: str
    size: str

    @property
    def name(self) -> str:
        return f"{self.recipe}-{self.size}"

    def teach(self, run: Run) -> Result:
        recipe, task = recipe_of(self.recipe), _task(run)
        texts, validation = run.read("texts"), run.read("validation")
        student = recipe.student(task, _teacher(run, task), self.size, run.read("old"))
        options = _options(run, recipe, task.depth(student))
        with run.fresh(self.name) as folder:
            report = training.train(
                task,
                _lesson(run, task, recipe.steps),
                teaching.without_dropout(student),
                training.Material(texts, [], validation),
                options,
                folder=run.shop.state.folder(
                    "logs", "tensorboard", run.job.service, f"{run.job.release}-{self.name}"
                ),
                progress=lambda done, total, message: run.report(self.name, done, total, message),
            )
            task.save(student, folder / "checkpoint")
            task.write_codec(student, validation, folder / "codec", run.settings.abstain_below)
        return {
            "options": {
                "recipe": self.recipe,
                "size": self.size,
                "batch_size": BATCH_SIZE,
                **asdict(options),
            },
            "processor": training.processor(),
            "start": str(_start(run)),
            "start_sha256": data.file_digest(_start(run).glob("*.safetensors")),
            "report": asdict(report),
            "parameters": sum(weight.numel() for weight in student.parameters()),
        }


def planned(run: Run) -> Iterator[Student]:
    """Those that were asked for by their names, and every size of each recipe that was."""
    asked = run.job.payload["recipes"]
    for recipe in plugins.names("recipes"):
        every = [Student(recipe, size) for size in recipe_of(recipe).sizes]
        yield from (student for student in every if recipe in asked or student.name in asked)


def recipe_of(name: str) -> Recipe:
    member: Recipe = plugins.get("recipes", name)()
    return member


def ask_teacher(run: Run) -> Result:
    """What the serving release's checkpoint says of all texts, once for all students."""
    task, texts = _task(run), [example.text for example in run.read("texts")]
    with run.fresh("teacher") as folder:
        teaching.ask(
            task,
            _teacher(run, task),
            texts,
            folder,
            progress=lambda done: run.report("teacher", done, len(texts), f"{done} of {len(texts)} texts"),
        )
    return {"texts": len(texts)}


def _task(run: Run) -> Compressible:
    return cast(Compressible, trainable(run.task))


def _start(run: Run) -> Path:
    assert run.base
    return run.base.folder / "checkpoint"


def _teacher(run: Run, task: Compressible) -> Any:
    return task.load(_start(run), run.job.steps["snapshot"]["labels"])


def _lesson(run: Run, task: Compressible, steps: int) -> teaching.Distillation:
    order = plugins.get("learners", "finetune")(batch_size=BATCH_SIZE, seed=run.settings.seed)
    texts = [example.text for example in run.read("texts")]
    return teaching.Distillation(task, order, texts, teaching.targets(run.folder / "teacher"), steps)


def _options(run: Run, recipe: Recipe, depth: int) -> training.Options:
    """Every layer learns, and to the end."""
    return training.Options(
        epochs=1,
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        trainable_layers=depth,
        max_seconds=MOST_SECONDS,
        seed=run.settings.seed,
        threads=run.settings.rebuild.threads or cores(),
    )
