"""Where the time of one answer goes, and the tensors by which the stages tell each other of it.

They are the stages' own and no task's, as prediction ids are. They flow in the ensemble that is asked for
timings alone, since a stage sends only what the ensemble takes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from perennial.types import Tensors, TensorSpec

PARTS = ("queue", "tokenizer", "engine", "postprocess")
"""What the columns of TIMINGS are."""

Run = Callable[[Tensors], Tensors]
_CAME = "CAME"

STAMPS = TensorSpec("STAMPS", "INT64", (3,), optional=True)
"""From the tokenizer to the postprocess: when it got the request, began with it, and was done. (A stage that
does the work of both, and of the engine, tells itself.)"""
RUN_MS = TensorSpec("RUN_MS", "FP32", (1,), optional=True)
"""From an engine stage of ours to the postprocess: what each row's run took. A backend of Triton's own tells
nothing."""
TIMINGS = TensorSpec("TIMINGS", "FP32", (len(PARTS),))
"""What the postprocess takes is optional: the ensemble without timings does not pass it on."""
HEAD = TensorSpec("HEAD", "INT32", (1,))
"""The version of the head that answered, or of the one before it; 0 where the release answered by itself."""


def now() -> int:
    """Nanoseconds of a clock that all processes of a machine share (CLOCK_MONOTONIC)."""
    return time.monotonic_ns()


def arrived(request: Tensors) -> Tensors:
    """A request that will wait for the tokenizer, with the time at which it began to."""
    return {**request, _CAME: np.array(now())}


def stamped(request: Tensors, encoded: Tensors, began: int) -> Tensors:
    """What the tokenizer, which began at `began`, made of a request, with its STAMPS."""
    rows = len(next(iter(encoded.values())))
    times = [int(request.get(_CAME, np.array(began))), began, now()]
    return {**encoded, STAMPS.name: np.array([times] * rows, np.int64)}


def timed(run: Run) -> Run:
    """An engine's `run` that tells its RUN_MS as well."""

    def told(tensors: Tensors) -> Tensors:
        began = now()
        outputs = run(tensors)
        took = (now() - began) / 1e6
        return {**outputs, RUN_MS.name: np.full((len(next(iter(outputs.values()))), 1), took, np.float32)}

    return told


def timings(request: Tensors, began: int, head: int) -> Tensors:
    """TIMINGS of a request that the postprocess began with at `began`: milliseconds, (rows, parts); and HEAD.

    They add up to all that went by since the tokenizer got it: `queue` is what no stage worked on it, waiting
    and on its way. Without RUN_MS the engine's part has its queue in it; an engine's answer that came from
    Triton's cache tells of the run that first gave it, and took no longer than the time between the stages.
    """
    if STAMPS.name not in request:
        return {}
    came, starts, done = request[STAMPS.name].T  # (rows,) each
    between = (began - done) / 1e6
    engine = np.minimum(request[RUN_MS.name][:, 0], between) if RUN_MS.name in request else between
    ends = now()
    tokenizer, postprocess = (done - starts) / 1e6, np.full(len(came), (ends - began) / 1e6)
    queue = np.maximum((ends - came) / 1e6 - tokenizer - engine - postprocess, 0)
    return {
        TIMINGS.name: np.stack([queue, tokenizer, engine, postprocess], axis=1).astype(np.float32),
        HEAD.name: np.full((len(came), 1), head, np.int32),
    }
