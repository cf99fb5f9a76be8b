"""Reads why a start failed out of what tritonserver logged."""

from __future__ import annotations

import re
from pathlib import Path

_FAILED = re.compile(r'" ?(failed to .*?)(?:\\n.*)?\s*"$', re.IGNORECASE)
_FATAL = re.compile(r"^(?:error: .*|.*error while loading shared libraries.*)")


class StartLog:
    """The part of a log file that is written from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begins = path.stat().st_size if path.exists() else 0

    def cause(self) -> str:
        """The line that says most about a failure: what failed to load or to start, else the last line."""
        return cause(self._text().splitlines())

    def _text(self) -> str:
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(self._begins)
            return file.read().decode(errors="replace")


def cause(lines: list[str]) -> str:
    for pattern in (_FAILED, _FATAL):
        for line in lines:
            if match := pattern.search(line):
                return (match[1] if match.lastindex else match[0]).strip()
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else "it logged nothing"
