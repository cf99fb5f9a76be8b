"""The stage classes that the `model.py` files of a repository import, each for itself: see `model.py`.

Each runs in a process of its own, so it is imported when it is asked for, and brings only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perennial.serve.engine import Engine
    from perennial.serve.feedback import Feedback
    from perennial.serve.index import Index
    from perennial.serve.postprocess import Postprocess
    from perennial.serve.tokenizer import Tokenizer
    from perennial.serve.why import Why
    from perennial.serve.writer import Writer

__all__ = ["Engine", "Feedback", "Index", "Postprocess", "Tokenizer", "Why", "Writer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"perennial.serve has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"perennial.serve.{name.lower()}"), name)
