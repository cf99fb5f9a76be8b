"""Finds a member of a family by its name: the only switch between strategies in Perennial.

A family is a folder of this package (`engines`, `learners`, `tasks/classify`, …); a member is a module of it
whose `__all__` has exactly one name, the class to use.
"""

from __future__ import annotations

import difflib
import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.errors import NotFound

if TYPE_CHECKING:
    from perennial.task_protocol import Labels

_ROOT = Path(__file__).parent


def names(family: str) -> list[str]:
    """The members of a family. Modules and folders whose name starts with `_` are not members."""
    found = pkgutil.iter_modules([str(_ROOT / family)])
    return sorted(module.name for module in found if not module.name.startswith("_"))


def get(family: str, name: str) -> Any:
    """The class of member `name`; raises `NotFound` with the nearest known name."""
    above, _, folder = family.rpartition("/")
    if above:
        _require(above, folder)
    _require(family, name)
    module = import_module(f"perennial.{family.replace('/', '.')}.{name}")
    (public,) = module.__all__
    return getattr(module, public)


@cache
def labels_of(task: str) -> Labels:
    """What the labels of a task mean."""
    found: Labels = get(f"tasks/{task}", "labels")()
    return found


def _require(family: str, name: str) -> None:
    known = names(family)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise NotFound(f"{name!r} is not one of the {family}; {hint}")
