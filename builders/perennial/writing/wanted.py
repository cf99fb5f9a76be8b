"""What somebody says of an answer that was written: the text that he wanted, one that he rejected, or both.

As a label it is the wanted text as it stands, or an object of `wanted` and `rejected`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from perennial.errors import BadRequest

_NAMES = {"wanted", "rejected"}


@dataclass(frozen=True)
class Wanted:
    wanted: str | None
    rejected: str | None = None

    @classmethod
    def read(cls, label: str) -> Wanted:
        said = _object(label)
        return cls(label) if said is None else cls(said.get("wanted"), said.get("rejected"))

    @classmethod
    def checked(cls, label: str) -> Wanted:
        """`BadRequest` for one that says nothing."""
        said = cls.read(label)
        for name, text in (("wanted", said.wanted), ("rejected", said.rejected)):
            if text is not None and not (isinstance(text, str) and text.strip()):
                raise BadRequest(
                    f"the {name} text is {str(text)[:80]!r}; give the answer that you would have wanted, or "
                    'JSON such as {"rejected": "the answer that was wrong"}'
                )
        return said

    @property
    def text(self) -> str:
        """By which an answer is judged: what is wanted, or, where only that is known, what is rejected."""
        return self.wanted or self.rejected or ""

    def score(self, likeness: float) -> float:
        """Of an answer that is so like `text`, in [0, 1]."""
        return likeness if self.wanted is not None else 1.0 - likeness

    @property
    def label(self) -> str:
        """What `read` reads, in one form."""
        if self.rejected is None and self.wanted is not None and _object(self.wanted) is None:
            return self.wanted
        told = {"wanted": self.wanted, "rejected": self.rejected}
        return json.dumps({name: text for name, text in told.items() if text is not None}, ensure_ascii=False)


def _object(label: str) -> dict[str, Any] | None:
    """Of a label that is one; None of a text, which may look like JSON of another kind."""
    try:
        said = json.loads(label) if label.lstrip().startswith("{") else None
    except ValueError:
        return None
    fine = isinstance(said, dict) and {*said} <= _NAMES and any(text is not None for text in said.values())
    return said if fine else None
