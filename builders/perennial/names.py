"""What a service may be called, and the models beside the services, which have names of their own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

SERVICE_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
OWN_MODELS = {
    "feedback": ("SERVICE", "TEXT", "LABEL"),
    "index": ("SERVICE", "ID", "TEXT"),
    "why": ("SERVICE", "TEXT"),
}
"""The models that speak for the store, of all services, and the inputs that each must have."""
NAMES_SHOWN = 20


def service_name(value: str) -> str:
    """The value, where a service may be called so; else `ValueError`."""
    if not SERVICE_NAME.fullmatch(value):
        raise ValueError(
            "a service's name is lower-case letters, digits and '-', begins with a letter, ≤ 63 long"
        )
    if value in OWN_MODELS:
        raise ValueError(f"there is a model {value!r} beside all services; choose another name")
    return value


def nearest(what: str, name: str, known: Iterable[str]) -> str:
    """The words for a name that is not among the `known` ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    listed = ", ".join(map(repr, names[:NAMES_SHOWN])) + (", …" if len(names) > NAMES_SHOWN else "")
    hint = f"did you mean {near[0]!r}?" if near else f"known: {listed or 'none yet'}"
    return f"{what} {name[:80]!r} is unknown; {hint}"
