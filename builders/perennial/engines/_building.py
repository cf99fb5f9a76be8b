"""What builds have in common: a precision that is known, a file that is whole or not there, and samples one
by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perennial.errors import ConfigError
from perennial.types import Tensors


def require_known(precision: str, known: Sequence[str]) -> None:
    if precision not in known:
        raise ConfigError(f"precision {precision!r} is unknown; choose one of {tuple(known)}")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` when the block ends well; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    yield part
    part.replace(path)


class Samples:
    """What the calibration of onnxruntime reads."""

    def __init__(self, samples: Sequence[Tensors]) -> None:
        self._left = iter(samples)

    def get_next(self) -> Tensors | None:
        return next(self._left, None)
