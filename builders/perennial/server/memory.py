"""How much memory the embedded server takes, model by model: the processes of Python models tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

import psutil

from perennial.repository.layout import STAGES, WRITING, stage_model
from perennial.server.stubs import stubs

MEGABYTE = 1e6


def by_model(server_pid: int) -> dict[str, float]:
    """MB of each model's processes, and under "" of tritonserver itself: what each has for itself, and its
    share of what it shares with others (PSS)."""
    found = defaultdict[str, float](float)
    found[""] = _megabytes(psutil.Process(server_pid))
    for folder, processes in stubs(server_pid).items():
        found[folder.parent.name] += sum(map(_megabytes, processes))
    return dict(found)


def of_service(service: str, taken: Mapping[str, float]) -> float:
    """Of what `by_model` found, the MB of all releases that are loaded of a service."""
    return sum(taken.get(stage_model(service, stage), 0.0) for stage in (*STAGES, *WRITING))


def _megabytes(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return float(process.memory_full_info().pss) / MEGABYTE
    return 0.0
