"""What the encoder bench counts, on a tiny encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perennial_perf.benches._encoder_runs import Lesson, Taught, Way, taught
from perennial_perf.benches._streams import Corpus, Spec, draw
from perennial_perf.benches.encoder import JOINT, OURS, goals_of
from perennial_perf.benches.encoder import draw as draw_picture
from tiny import LABELS, tiny_examples


def lesson() -> Lesson:
    rows = [*dict.fromkeys(tiny_examples(300))]
    gold = np.array([LABELS.index(row.label) for row in rows])
    domains = np.arange(len(rows)) % 2
    corpus = Corpus(LABELS, ("one", "two"), gold, domains, [np.array([label]) for label in gold])
    return Lesson(corpus, [row.text for row in rows], draw(corpus, Spec("B", "rater", 0, 0, 100, 40)))


def test_between_rebuilds_the_head_serves_and_every_promotion_is_measured(tiny_encoder: Path) -> None:
    way = Way("replay", rebuilds=2, epochs=16, learning_rate=5e-3, batch_size=8, fast_head=True)
    course = taught(way, tiny_encoder, lesson(), seed=0)
    assert course.seen == [100, 200]
    assert [len(scores) for scores in (course.served, course.promoted, course.cpu_s)] == [2, 2, 2]
    assert all(cost > 0 for cost in course.cpu_s) and course.head_s > 0
    assert course.promoted[-1].mean() > 0.6, "it learned"
    assert course.served[1].mean() > 0.5, "so did the head that served meanwhile"


@pytest.mark.parametrize("way", [Way("sgd", batch_size=1), Way("finetune", "lora", rebuilds=0)])
def test_what_is_compared_with_is_measured_at_its_end(way: Way, tiny_encoder: Path) -> None:
    course = taught(way, tiny_encoder, lesson(), seed=0)
    assert (len(course.served), len(course.promoted), len(course.cpu_s)) == (0, 1, way.rebuilds or 1)


def test_goals_are_of_the_mean_course_and_of_the_worst_promotion(tmp_path: Path) -> None:
    def course(score: float, cost: float, before: float) -> Taught:
        slices = np.array([score, score])
        return Taught([1, 2], [slices, np.array([before, 1.0])], [slices, slices], [cost, cost])

    found = {JOINT: [course(0.5, 6.0, 0.5)], OURS: [course(0.4, 1.0, 0.4), course(0.6, 3.0, 0.63)]}
    goals = goals_of(found)
    assert [round(goal.value, 6) for goal in goals] == [1.0, 0.333333, 1.0, 3.0]
    assert [goal.met for goal in goals] == [True, True, True, False]
    draw_picture(found, tmp_path / "encoder.png")
    assert (tmp_path / "encoder.png").read_bytes().startswith(b"\x89PNG")
