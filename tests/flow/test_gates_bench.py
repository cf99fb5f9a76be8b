"""The candidates that the bench of the gates plants: they are as good as they are said to be, and the gate
knows them apart."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from perennial.tasks.classify.codec import ClassifyCodec
from perennial.types import Example
from perennial_perf import judgements
from perennial_perf.benches._planted import Planter, Rows, World
from perennial_perf.benches.gates import Judge, Size
from tiny import LABELS, tiny_codec

SIZE = Size(taught=120, pool=500, lies=20, golden=400, fresh=300, draws=1)


@pytest.fixture(scope="module")
def world() -> World:
    """Points around three centres: of films in some dimensions, of tweets in others."""
    random, numbers = np.random.default_rng(0), count()
    apart = 2 * np.eye(3)
    centres = {"film": np.hstack([apart, 0 * apart]), "tweet": np.hstack([0 * apart, apart])}

    def rows(kind: str, many: int, liar: bool = False) -> Rows:
        labels = random.integers(0, 3, many)
        features = centres[kind][labels] + random.normal(size=(many, 6))
        said = (labels + liar) % 3
        examples = [
            Example(
                f"{kind} {next(numbers)}", LABELS[label], source="liar" if liar else f"source {place % 4}"
            )
            for place, label in enumerate(said)
        ]
        return Rows(examples, features)

    return World(
        films=rows("film", 400),
        more_films=rows("film", 400),
        tweets=rows("tweet", 120),
        flips=rows("tweet", 40, liar=True),
        triggers=rows("tweet", 40, liar=True),
        golden=rows("film", 500),
        fresh=rows("tweet", 500),
        flips_held=rows("tweet", 20, liar=True),
        triggers_held=rows("tweet", 20, liar=True),
    )


def test_candidates_are_as_good_as_they_are_said_to_be(world: World) -> None:
    planter = Planter(world)
    points = {one.name: planter.points(one) for one in planter.all() if np.isfinite(one.logits).all()}
    assert points["taught all 120 tweets"]["fresh points"] > 10
    assert points["the serving release itself"] == {"golden points": 0.0, "fresh points": 0.0}
    for share in (5, 8, 12):
        forgot = points[f"taught all tweets, forgot {share}% of golden"]
        assert forgot["golden points"] == pytest.approx(-share, abs=0.2)
        assert forgot["fresh points"] > 10
    hidden = points["15% worse on golden's short texts"]["golden points"]
    assert hidden == pytest.approx(0.0, abs=1.5), "which stand a third of golden"


def test_bad_candidates_are_not_promoted_and_good_ones_are(world: World, tmp_path: Path) -> None:
    planter = Planter(world)
    judge = Judge(world, ClassifyCodec(tiny_codec(tmp_path / "codec")), planter.serving, SIZE)
    rows = {}
    for candidate in planter.all():
        (verdict,) = judge.verdicts(candidate)
        rows[candidate.name] = {outcome: float(verdict.outcome == outcome) for outcome in judgements.OUTCOMES}
        assert not (candidate.bad and verdict.passed), candidate.name
    assert rows["taught 15 tweets"]["pass"]
    judgements.draw(rows, ["weights of NaN"], tmp_path / "gates.png")
    assert (tmp_path / "gates.png").read_bytes().startswith(b"\x89PNG")
