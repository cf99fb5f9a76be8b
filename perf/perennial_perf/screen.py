"""How a long run tells where it is: bars that move on a terminal, a line for each event elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Screen:
    """Threads may share one. Lines stand above the bars, and are all that a pipe or a log gets."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def bar(self, name: str) -> Bar:
        return Bar(self._progress, self._progress.add_task(name, total=None, message=""))


class Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, done: float, total: float | None, message: str) -> None:
        self._progress.update(self._task, completed=done, total=total, message=message)

    def end(self, message: str) -> None:
        """Full, whatever it stood at: there is no more to come."""
        self._progress.update(self._task, completed=1, total=1, message=message)
        self._progress.stop_task(self._task)
