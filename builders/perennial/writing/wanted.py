"""What somebody says of an answer that was written: the text that he wanted, one that he rejected, or both.

As a label it is the wanted text as it stands, or an object of `wanted` and `rejected`; with `goes_on` where
the wanted text is the beginning of a longer one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from perennial.errors import BadRequest
from perennial.writing.overlap import overlap

_NAMES = {"wanted", "rejected", "goes_on"}


@dataclass(frozen=True)
class Wanted:
    wanted: str | None
    rejected: str | None = None
    goes_on: bool = False

    @classmethod
    def read(cls, label: str) -> Wanted:
        said = _object(label)
        return cls(label) if said is None else cls(**{"wanted": None, **said})

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
        if not isinstance(said.goes_on, bool):
            raise BadRequest(
                f"goes_on is {said.goes_on!r}; give true where the wanted text goes on, or false"
            )
        return said

    @property
    def text(self) -> str:
        """By which an answer is judged: what is wanted, or, where only that is known, what is rejected."""
        return self.wanted or self.rejected or ""

    def score(self, likeness: float) -> float:
        """Of an answer that is so like `text`, in [0, 1]."""
        return likeness if self.wanted is not None else 1.0 - likeness

    def alike(self, said: str) -> float:
        """The `score` of an answer by its words, of a text that goes on by as much of them as that has."""
        return self.score(overlap(said[: len(self.text)] if self.goes_on else said, self.text))

    @property
    def label(self) -> str:
        """What `read` reads, in one form."""
        whole = self.rejected is None and not self.goes_on
        if whole and self.wanted is not None and _object(self.wanted) is None:
            return self.wanted
        told = {name: said for name, said in asdict(self).items() if said}
        return json.dumps(told, ensure_ascii=False)


def _object(label: str) -> dict[str, Any] | None:
    """Of a label that is one; None of a text, which may look like JSON of another kind."""
    try:
        said = json.loads(label) if label.lstrip().startswith("{") else None
    except ValueError:
        return None
    if not isinstance(said, dict) or not {*said} <= _NAMES:
        return None
    return said if any(said.get(name) is not None for name in ("wanted", "rejected")) else None
