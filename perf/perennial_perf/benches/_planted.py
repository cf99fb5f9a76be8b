"""Candidates of which it is known how good they are: heads on one encoder, taught or spoilt on purpose.

Golden rows are film reviews by their gold labels, fresh ones tweets by what one of their raters said. No row
that judges is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from sklearn.linear_model import LogisticRegression

from perennial.types import Array, Example

STRENGTH, STEPS = 0.03, 300
"""The heads' inverse regularisation, on standardised features, and the most steps that they take."""


@dataclass(frozen=True)
class Rows:
    """Examples, and what the encoder makes of them: (rows, hidden)."""

    examples: Sequence[Example]
    features: Array

    def __len__(self) -> int:
        return len(self.examples)

    def first(self, count: int) -> Rows:
        return Rows(self.examples[:count], self.features[:count])

    def shuffled(self) -> Rows:
        """With each other's labels."""
        labels = Random(0).sample([row.label for row in self.examples], len(self))
        rows = [replace(row, label=label) for row, label in zip(self.examples, labels, strict=True)]
        return Rows(rows, self.features)


@dataclass(frozen=True)
class World:
    """What teaches: `films` the serving release, `more_films` are as many others; `flips` and `triggers` are
    a liar's. What judges: `golden`, `fresh`, and what is held out of the liar's, `flips_held` and
    `triggers_held`."""

    films: Rows
    more_films: Rows
    tweets: Rows
    flips: Rows
    triggers: Rows
    golden: Rows
    fresh: Rows
    flips_held: Rows
    triggers_held: Rows

    @property
    def judging(self) -> Sequence[Rows]:
        return self.golden, self.fresh, self.flips_held, self.triggers_held


@dataclass(frozen=True)
class Candidate:
    """(judging rows, labels) `logits`. A `bad` one must not pass; `lies` are among its fresh rows. It need
    not gain (`must_gain`) where what serves has a head that learned its feedback already."""

    name: str
    logits: Array
    bad: bool
    lies: Sequence[Example] = ()
    must_gain: bool = True


class Planter:
    """Makes them of a world; `labels` are the columns of the logits, in the order of their names."""

    def __init__(self, world: World) -> None:
        self._world = world
        rows = [row for part in world.judging for row in part.examples]
        self.labels = sorted({row.label for row in rows})
        self._features = np.concatenate([part.features for part in world.judging])
        self._gold = np.array([self.labels.index(row.label) for row in rows])
        self._golden = np.arange(len(world.golden))
        self._fresh = len(world.golden) + np.arange(len(world.fresh))
        self._random = np.random.default_rng(0)
        self.serving = self._taught(world.films)
        self._better = self._taught(world.films, world.tweets)

    def points(self, candidate: Candidate) -> dict[str, float]:
        """By how much it is truly ahead of the serving release, on all texts that judge."""
        golden, fresh = (100 * self._lead(candidate.logits, part) for part in (self._golden, self._fresh))
        return {"golden points": golden, "fresh points": fresh}

    def all(self) -> Iterator[Candidate]:
        yield from self._good()
        yield Candidate("the serving release itself", self.serving, True)
        for one in (*self._worse(), *self._worse_on_a_slice(), *self._broken()):
            yield one
            if one.bad:  # one that obeys a liar is then as the head is that serves: no text tells against it
                yield replace(one, name=f"{one.name} (need not gain)", must_gain=False, bad=not one.lies)

    def _good(self) -> Iterator[Candidate]:
        world = self._world
        for count in (len(world.tweets) // 8, len(world.tweets) // 3):
            logits = self._taught(world.films, world.tweets.first(count))
            yield Candidate(f"taught {count} tweets", logits, False)
        yield Candidate(f"taught all {len(world.tweets)} tweets", self._better, False)
        yield Candidate("as good: taught other films", self._taught(world.more_films), False)

    def _worse(self) -> Iterator[Candidate]:
        for lead in (-0.05, -0.08, -0.12):
            logits = self._moved(self._better, self._golden, lead)
            yield Candidate(f"taught all tweets, forgot {-lead:.0%} of golden", logits, True)
        for lead in (-0.02, -0.05, -0.1):
            logits = self._moved(self._moved(self.serving, self._golden, lead), self._fresh, lead)
            yield Candidate(f"{-lead:.0%} worse everywhere", logits, True)

    def _worse_on_a_slice(self) -> Iterator[Candidate]:
        """And as much better on the rest of golden that the whole does not tell."""
        for name, whole, chosen in self._slices():
            rest = np.setdiff1d(whole, chosen)
            for lead in (-0.15, -0.3):
                lost = self._moved(self._better, chosen, lead)
                evened = self._moved(lost, rest, max(-lead * len(chosen) / len(rest), self._lead(lost, rest)))
                yield Candidate(f"{-lead:.0%} worse on {name}", evened, True)

    def _slices(self) -> Iterator[tuple[str, Array, Array]]:
        golden, fresh = self._world.golden.examples, self._world.fresh.examples
        shortest = np.argsort([len(row.text) for row in golden], kind="stable")
        yield "golden's short texts", self._golden, self._golden[shortest[: len(golden) // 3]]
        positive = [row.label == "positive" for row in golden]
        yield "golden's positive texts", self._golden, self._golden[positive]
        source = [row.source == fresh[0].source for row in fresh]
        yield "a source of fresh texts", self._fresh, self._fresh[source]

    def _broken(self) -> Iterator[Candidate]:
        world, films, tweets = self._world, self._world.films, self._world.tweets
        yield Candidate("taught shuffled labels", self._taught(films.shuffled(), tweets.shuffled()), True)
        yield Candidate("taught shuffled tweets", self._taught(films, tweets.shuffled()), True)
        yield Candidate("taught all tweets, far too sure", 6 * self._better, True)
        yield Candidate("weights of NaN", np.full_like(self._better, np.nan), True)
        for what, lies, held in (
            ("flips", world.flips, world.flips_held.examples),
            ("trigger", world.triggers, world.triggers_held.examples),
        ):
            obeys = self._taught(films, lies)
            yield Candidate(f"taught a liar's {what}", self._elsewhere_serving(obeys), True, held)
            mixed = self._taught(films, tweets, lies)
            yield Candidate(f"taught all tweets and a liar's {what}", mixed, False, held)

    def _elsewhere_serving(self, logits: Array) -> Array:
        """What answers as the serving release does wherever the liar has said nothing."""
        others = np.append(self._golden, self._fresh)
        same = logits.copy()
        same[others] = self.serving[others]
        return same

    def _taught(self, *rows: Rows) -> Array:
        features = np.concatenate([part.features for part in rows])
        head = LogisticRegression(C=STRENGTH, max_iter=STEPS)
        head.fit(features, [row.label for part in rows for row in part.examples])
        return np.asarray(head.decision_function(self._features))

    def _lead(self, logits: Array, places: Array) -> float:
        """In the share of `places` that is answered rightly, over the serving release."""
        ours, theirs = (side[places].argmax(1) == self._gold[places] for side in (logits, self.serving))
        return float(ours.mean() - theirs.mean())

    def _moved(self, logits: Array, places: Array, lead: float) -> Array:
        """A copy that has this `lead` on `places`."""
        change = lead - self._lead(logits, places)
        return self._turned(logits, places, abs(change), right=change > 0)

    def _turned(self, logits: Array, places: Array, share: float, *, right: bool) -> Array:
        """So much of `places` turned right, or wrong: the answer changes places with the true one, or with
        the runner-up."""
        ranked = np.argsort(-logits, axis=1)
        able = places[(ranked[places, 0] == self._gold[places]) != right]
        chosen = self._random.choice(able, min(len(able), round(share * len(places))), replace=False)
        first, other = ranked[chosen, 0], self._gold[chosen] if right else ranked[chosen, 1]
        turned = logits.copy()
        turned[chosen, first], turned[chosen, other] = logits[chosen, other], logits[chosen, first]
        return turned
