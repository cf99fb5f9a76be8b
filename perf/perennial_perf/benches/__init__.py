"""The benches, a module each: `run(settings, quick)` measures a promise and gives its `Report`."""

from __future__ import annotations

import json
import pkgutil
from importlib import import_module

from rich.console import Console

from perennial.config import Settings
from perennial.errors import NotFound
from perennial_perf.report import Report


def main(name: str, settings: Settings, *, quick: bool, as_json: bool) -> int:
    """Run a bench, keep its report in the state's `reports` and print it; 1 where a goal is not met."""
    known = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_")
    if name not in known:
        raise NotFound(f"{name!r} is not a bench; known: {', '.join(known)}")
    report: Report = import_module(f"{__name__}.{name}").run(settings, quick=quick)
    report.write(settings.folder.folder("reports"))
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        report.show(Console())
    return report.exit_code
