"""One database, reached by an engine: short transactions, and plain errors when it is not there.

Writers stand in line, on either database (see the members): a write sees every earlier one, so row numbers
count up in order of commit, and keys, job numbers, claims and tokens need no lock of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from perennial.errors import Away, Broken

WRITES = "perennial_writes"
"""Execution option of a connection whose next transaction takes its place in the line of writers."""


to_json = partial(json.dumps, allow_nan=False, ensure_ascii=False)
"""NaN is no JSON: PostgreSQL refuses it, so both databases do."""


class Database:
    def __init__(self, engine: Engine, way_out: str) -> None:
        """`way_out` ends the message of `Unavailable`: what a person checks when the database is away."""
        self._engine = engine
        self._way_out = way_out

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._plain_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One durable commit, once the block ends well."""
        with (
            self._plain_errors(),
            self._engine.connect() as connection,
            connection.execution_options(**{WRITES: True}).begin(),
        ):
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        where = self._engine.url.render_as_string(hide_password=True)
        try:
            yield
        except (OperationalError, InterfaceError, InternalError, PoolTimeout) as error:
            raise Away(f"the store {where} is not there: {_first_line(error)}; {self._way_out}") from error
        except DatabaseError as error:
            if type(error) is not DatabaseError:
                raise  # a broken constraint or statement is a defect of ours, not of the database
            raise Broken(
                f"the store {where} is damaged: {_first_line(error)}; restore it from a backup"
            ) from error


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]
