"""Times as options take them."""

from __future__ import annotations

import re

import typer

_UNITS = {"ms": 1.0, "s": 1000.0, "": 1.0}


def milliseconds(value: str) -> float:
    """`20ms`, `0.5s`; a bare number is milliseconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|)", value.strip())
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"{value!r} is no time; write it as 20ms or 0.5s")
    return float(match[1]) * _UNITS[match[2]]
