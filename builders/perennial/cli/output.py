"""How commands print: a table or a line for people, one JSON value for scripts, errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from perennial.config import Settings

console = Console()
errors = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of text.")]


def settings_of(context: typer.Context) -> Settings:
    settings: Settings = context.obj
    return settings


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)  # `up` goes on after it


def say(line: str) -> None:
    """One line, however narrow the terminal: it may be copied, or read by another program."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)


def teller(quiet: bool) -> Callable[[str], None]:
    """`say`, or silence where standard output is for JSON alone."""
    return (lambda *_: None) if quiet else say


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    drawn = Table(title=title, title_justify="left", header_style="bold", show_header=any(columns))
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*("" if cell is None else str(cell) for cell in row))
    return drawn


def fail(error: Exception, code: int) -> NoReturn:
    if "--json" in sys.argv:
        print_json({"error": type(error).__name__, "message": str(error)})
    else:
        errors.print("[bold red]error:[/]", end=" ")
        errors.print(str(error), highlight=False, soft_wrap=True, markup=False)  # [extras] are no markup
    sys.exit(code)
