"""Finds the stage that a question goes unanswered at, by walking the ensemble with real tensors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perennial.errors import Broken
from perennial.server.control import Control, Figures, Step, TimedOut
from perennial.types import Tensors

ANSWER_S = 2.0
STUCK_S = 8.0
"""A stage that answers nobody for this long is stuck, not slow."""
ASKS = 3
"""Asks of a stage in a row: its instances take turns, and one may fail while another answers."""


@dataclass(frozen=True)
class Question:
    """A request that a model must be able to answer."""

    model: str
    tensors: Tensors
    parameters: Mapping[str, bool | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """A version of a stage that does not answer as it should."""

    model: str
    version: int
    reason: str


def examine(control: Control, question: Question) -> Fault | None:
    """The first stage behind the question that fails, if the question goes unanswered.

    Raises `Unavailable` where the server is away, or has a full queue and no time for the question.
    """
    try:
        control.ask(question.model, None, question.tensors, question.parameters, ANSWER_S)
    except (Broken, TimedOut):
        return _walk(control, question)
    return None


def in_order(steps: Sequence[Step]) -> list[Step]:
    """The steps such that each comes after those whose outputs it takes."""
    ordered: list[Step] = []
    waiting = list(steps)
    while waiting:
        missing = {name for step in waiting for name in step.outputs.values()}
        following = next(step for step in waiting if missing.isdisjoint(step.inputs.values()))
        waiting.remove(following)
        ordered.append(following)
    return ordered


def _walk(control: Control, question: Question) -> Fault | None:
    """Feed the stages in turn with what those before them answer, up to one that fails."""
    known = dict(question.tensors)
    for step in in_order(control.steps(question.model)) or [_whole(control, question)]:
        asked = {name: known[source] for name, source in step.inputs.items() if source in known}
        before = control.figures(step.model, step.version)
        try:
            for _ in range(ASKS):
                answer = control.ask(step.model, step.version, asked, question.parameters, ANSWER_S)
        except Broken as error:
            return Fault(step.model, step.version, str(error))
        except TimedOut:
            stuck = Fault(step.model, step.version, f"no answer for {STUCK_S:.0f} s")
            return stuck if _is_stuck(control, step, before) else None
        known.update({name: answer[output] for output, name in step.outputs.items()})
    return None


def _whole(control: Control, question: Question) -> Step:
    """A model that is no ensemble, as its own only stage."""
    version = max(control.versions(question.model))
    return Step(question.model, version, {name: name for name in question.tensors}, {})


def _is_stuck(control: Control, step: Step, before: Figures) -> bool:
    """Whether the stage, which let a request wait, answers nobody."""
    ends_at = time.monotonic() + STUCK_S
    while time.monotonic() < ends_at:
        now = control.figures(step.model, step.version)
        if now.succeeded > before.succeeded:
            return False
        if now.failed > before.failed:
            return True
        time.sleep(0.5)
    return True
