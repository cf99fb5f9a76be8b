"""20 Newsgroups: which of 20 groups a post was sent to, with the posts that came later as a stream."""

from __future__ import annotations

from perennial.samples._newsgroups import BUILD, LATER, Posts
from perennial.types import Example, Rated

__all__ = ["Newsgroups"]


class Newsgroups(Posts):
    service = "newsgroups"
    task = "classify"

    def data(self) -> list[Example]:
        """11,000 posts, group by group."""
        return [Example(text, label, source=BUILD) for text, label in self.rows(BUILD)]

    def documents(self) -> dict[str, str]:
        return {}

    def stream(self) -> dict[str, list[Rated]]:
        """7,500 later posts, each rated once: by where it was sent."""
        return {LATER: [Rated(text, label, (label,)) for text, label in self.rows(LATER)]}
