"""How quick a session is, asked as the engine stage asks: real texts, each alone and at its own length."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from perennial.protocols import Engine, Session
from perennial.types import Placement, Tensors


def speed(engine: Engine, file: Path, texts: Sequence[Tensors], placement: Placement) -> dict[str, float]:
    """`texts_per_s` of a session that all instances share, and `alone_ms` of the one for a row that comes
    alone, as the engine stage opens both."""
    callers, lone = placement.instances, placement.alone_threads or len(os.sched_getaffinity(0))
    shared, alone = engine.open(file, placement.threads), engine.open(file, lone)
    try:
        return {"texts_per_s": texts_per_s(shared, texts, callers), "alone_ms": alone_ms(alone, texts)}
    finally:
        shared.close()
        alone.close()


def texts_per_s(session: Session, texts: Sequence[Tensors], callers: int) -> float:
    """Of `callers` threads at once, after a round that does not count: it compiles and allocates."""
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(session.run, texts))
        began = time.perf_counter()
        list(pool.map(session.run, texts))
        return len(texts) / (time.perf_counter() - began)


def alone_ms(session: Session, texts: Sequence[Tensors]) -> float:
    """The median of one caller, after a round that does not count."""
    return float(np.median(latencies_ms(session, texts)))


def latencies_ms(session: Session, texts: Sequence[Tensors]) -> list[float]:
    """Of one caller, text by text, after a round that does not count."""
    for tensors in texts:
        session.run(tensors)
    took = []
    for tensors in texts:
        began = time.perf_counter()
        session.run(tensors)
        took.append(1e3 * (time.perf_counter() - began))
    return took
