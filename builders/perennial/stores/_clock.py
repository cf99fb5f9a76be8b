"""The database's own clock, so that leases of workers on several machines run out by one clock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class now(FunctionElement[float]):
    """Seconds since the epoch, as they go by inside a transaction too."""

    inherit_cache = True
    type = Double()


@compiles(now, "sqlite")
def _sqlite(*_: Any, **__: Any) -> str:
    return "unixepoch('subsec')"


@compiles(now, "postgresql")
def _postgresql(*_: Any, **__: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"
