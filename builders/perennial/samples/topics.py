"""20 Newsgroups as retrieval: posts are to be found by later posts of the same group.

What is relevant is derived: nobody judged it. A post wants any of its group, whose name begins their ids.
"""

from __future__ import annotations

import json
from collections import Counter
from random import Random

from perennial.samples._newsgroups import BUILD, LATER, Posts
from perennial.types import Example, Rated

__all__ = ["Topics"]

TAUGHT = 4500
"""Of the later posts; the others are the stream."""


class Topics(Posts):
    service = "topics"
    task = "embed"

    def documents(self) -> dict[str, str]:
        """11,000 posts."""
        counts, named = Counter[str](), {}
        for text, group in self.rows(BUILD):
            counts[group] += 1
            named[f"{group}/{counts[group]}"] = text
        return named

    def data(self) -> list[Example]:
        """4,500 of the later posts: a tenth judges releases, and 200 did not settle whether one was worse."""
        return [Example(text, _wanting(group), source=LATER) for text, group in self._later()[:TAUGHT]]

    def stream(self) -> dict[str, list[Rated]]:
        """The other 3,000 later posts, each judged once: by where it was sent."""
        rows = [(text, _wanting(group)) for text, group in self._later()[TAUGHT:]]
        return {LATER: [Rated(text, label, (label,)) for text, label in rows]}

    def _later(self) -> list[tuple[str, str]]:
        """In random order: the file is sorted."""
        rows = self.rows(LATER)
        return Random(0).sample(rows, len(rows))


def _wanting(group: str) -> str:
    return json.dumps([{"document": f"{group}/", "said": "relevant"}])
