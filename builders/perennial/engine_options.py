"""What settings may say of engines: the names that there are, and the options that each is made with.

An engine's constructor is the list of its options; whether the engine is here is asked at the beginning of a
job. Imports no runtime.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from perennial import plugins

AUTO = "auto"
"""In place of a name: the quickest of all that passes the gates."""


def _name(value: str) -> str:
    known = ["", AUTO, *plugins.names("engines")]
    if value not in known:
        raise ValueError(f"is not an engine; {_hint(value, known[1:])}")
    return value


def _options(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By the name of an engine the arguments of its constructor, each in its own type."""
    return {name: _arguments(name, table) for name, table in tables.items()}


def _arguments(engine: str, table: Mapping[str, Any]) -> dict[str, Any]:
    names = plugins.names("engines")
    if engine not in names:
        raise ValueError(f"{engine!r} is not an engine; {_hint(engine, names)}")
    known = inspect.signature(plugins.get("engines", engine), eval_str=True).parameters
    for key in table:
        if key not in known:
            raise ValueError(f"unknown option {key!r} of {engine}; {_hint(key, list(known))}")
    return {key: _typed(f"{engine}.{key}", value, known[key].annotation) for key, value in table.items()}


def _typed(where: str, value: Any, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{where} = {value!r}: {error.errors()[0]['msg']}") from None


def _hint(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, 1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(known) or 'none'}"


EngineName = Annotated[str, AfterValidator(_name)]
EngineOptions = Annotated[dict[str, dict[str, Any]], AfterValidator(_options)]
