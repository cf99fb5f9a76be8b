"""Whose processor time a load takes: the server's, each stage's, the load generator's, everybody else's."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from perennial.repository.layout import stage_models
from perennial.server.stubs import stubs


@contextmanager
def processor_time(
    server_pid: int, repository: Path, service: str, release: int
) -> Iterator[dict[str, float]]:
    """Fills in, when the block ends, the seconds that each took meanwhile; the load generator is a child of
    this process that began and ended in the block."""
    found = stubs(server_pid)
    groups = {"tritonserver": [psutil.Process(server_pid)]}
    for model in stage_models(repository, service):
        groups[model] = found[repository.resolve() / model / str(release)]
    before, machine = {name: _spent(group) for name, group in groups.items()}, _busy()
    ours, children = resource.getrusage(resource.RUSAGE_SELF), _children()
    taken: dict[str, float] = {}
    yield taken
    taken |= {name: _spent(group) - before[name] for name, group in groups.items()}
    taken["load generator"] = _children() - children
    now = resource.getrusage(resource.RUSAGE_SELF)
    own = now.ru_utime + now.ru_stime - ours.ru_utime - ours.ru_stime
    taken["others"] = max(0.0, _busy() - machine - own - sum(taken.values()))


def _spent(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def _children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _busy() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)
