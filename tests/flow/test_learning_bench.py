"""The learning bench's streams, methods and measures, on a small corpus of synthetic features."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from perennial.errors import Unavailable
from perennial.types import Array
from perennial_perf.benches._course import Course, calibration_error, f1s, go
from perennial_perf.benches._courses import FAST, JOINT, METHODS, Lesson, Size, courses
from perennial_perf.benches._fast_head import FastHead
from perennial_perf.benches._learn_claims import claims
from perennial_perf.benches._methods import Shape
from perennial_perf.benches._rivals import RIVALS, Remote, Rival, running
from perennial_perf.benches._softmax import Reservoir
from perennial_perf.benches._streams import CHUNK, Corpus, Kind, Spec, draw
from perennial_perf.benches.learn import HARD, goals_of

DOMAINS, LABELS, TEXTS, WIDTH = 4, 3, 400, 16
SIZE = Size(orders=2, seeds=1, train=250, test=100)
KINDS: tuple[Kind, ...] = ("A", "B", "C", "D")


def corpus_and_features() -> tuple[Corpus, Array]:
    rng = np.random.default_rng(0)
    gold = rng.choice(LABELS, DOMAINS * TEXTS, p=(0.5, 0.3, 0.2))
    features = rng.normal(size=(len(gold), WIDTH)) + 2.5 * np.eye(LABELS, WIDTH)[gold]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    said = [np.array([label, label, rng.integers(LABELS)]) for label in gold]
    domains = np.repeat(np.arange(DOMAINS), TEXTS)
    return Corpus(("a", "b", "c"), ("k", "l", "m", "n"), gold, domains, said), features


CORPUS, FEATURES = corpus_and_features()
POSTS = replace(
    CORPUS,
    labels=tuple("abcdefgh"),
    names=("posts",),
    gold=np.arange(len(CORPUS.gold)) % 8,
    domains=np.zeros_like(CORPUS.domains),
    fixed=np.arange(1200, 1600),
)


def spec(kind: Kind, order: int = 0, seed: int = 0) -> Spec:
    return Spec(kind, "rater", order, seed, SIZE.train, SIZE.test)


@pytest.fixture
def lesson(tmp_path: Path) -> Lesson:
    np.save(tmp_path / "features.npy", FEATURES)
    return Lesson(CORPUS, tmp_path / "features.npy", "B", "rater")


@pytest.mark.parametrize("kind", KINDS)
def test_orders_of_a_seed_end_with_the_same_rows_and_no_text_is_learned_and_tested(kind: Kind) -> None:
    streams = [draw(CORPUS, spec(kind, order)) for order in range(3)]
    ends = [
        sorted(zip(stream.rows[stream.left()], stream.labels[stream.left()], strict=True))
        for stream in streams
    ]
    assert ends[0] == ends[1] == ends[2]
    assert not np.array_equal(streams[0].rows, streams[1].rows)
    for stream in streams:
        assert not set(stream.rows) & set(stream.test)
        assert stream.ends[-1] == len(stream.rows)
        assert np.bincount(CORPUS.domains[stream.test]).tolist() == [SIZE.test] * DOMAINS


def test_a_domain_is_done_before_the_next_begins() -> None:
    domains = CORPUS.domains[draw(CORPUS, spec("A")).rows]
    assert (np.diff(domains) != 0).sum() == DOMAINS - 1


def test_chunks_are_of_one_label_mostly() -> None:
    labels = draw(CORPUS, spec("B")).labels
    shares = [
        np.bincount(labels[at : at + CHUNK]).max() / CHUNK for at in range(0, len(labels) - CHUNK, CHUNK)
    ]
    assert shares[0] == pytest.approx(0.85, abs=0.01)
    assert np.mean(shares) > 0.7


def test_liars_all_tell_the_same_lie() -> None:
    honest, lied = (draw(CORPUS, spec(kind)) for kind in ("B", "C"))
    true = dict(zip(honest.rows, honest.labels, strict=True))
    changed = [
        (true[row], label) for row, label in zip(lied.rows, lied.labels, strict=True) if true[row] != label
    ]
    assert len(changed) / len(lied.rows) == pytest.approx(0.1, abs=0.03)
    assert all(label == (meant + 1) % LABELS for meant, label in changed)


def test_rows_are_taken_back_after_they_were_told_and_one_label_comes_late() -> None:
    stream = draw(CORPUS, spec("D"))
    told = {row: at for at, row in enumerate(stream.rows) if not stream.back[at]}
    taken = [(told[row], at) for at, row in enumerate(stream.rows) if stream.back[at]]
    assert len(taken) / len(told) == pytest.approx(0.1, abs=0.03)
    assert all(first < last for first, last in taken)
    early = np.bincount(stream.labels[: len(stream.rows) // 5], minlength=LABELS)
    assert (early == 0).sum() == 1


def test_classes_come_group_by_group_and_the_split_is_the_corpus_own() -> None:
    stream = draw(POSTS, replace(spec("classes"), labels="gold"))
    seen = [set(stream.labels[stream.ends[at - 2] if at > 1 else 0 : stream.ends[at]]) for at in (1, 3, 5, 7)]
    assert [len(labels) for labels in seen] == [2, 2, 2, 2]
    assert set.union(*seen) == set(range(8))
    assert POSTS.fixed is not None and np.array_equal(stream.test, POSTS.fixed)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_and_says_what_it_kept(name: str, lesson: Lesson) -> None:
    [[course, _]] = courses(name, lesson, SIZE)
    assert course.curve.shape == (8, DOMAINS)
    assert course.score > 0.35 and course.worst <= course.score
    assert course.kept_mb > 0 and 0 <= course.ece <= 1 and course.forgetting >= 0


def test_the_fast_head_ends_alike_whatever_the_order_near_the_joint_head(lesson: Lesson) -> None:
    [[first, second]] = courses(FAST, lesson, SIZE)
    [[joint]] = courses(JOINT, lesson, SIZE)
    assert np.array_equal(first.curve[-1], second.curve[-1])
    assert first.score > 0.95 * joint.score


def test_the_fast_head_knows_nothing_of_what_was_taken_back() -> None:
    stream = draw(CORPUS, spec("D"))
    shape = Shape(WIDTH, LABELS, 50, 0)
    gone, never = FastHead(shape), FastHead(shape)
    go(gone, stream, CORPUS, FEATURES)
    left = stream.left()
    never.learn(stream.rows[left], FEATURES[stream.rows[left]], stream.labels[left])
    assert np.array_equal(gone.answer(FEATURES).argmax(1), never.answer(FEATURES).argmax(1))


def test_claims_hold_on_any_features(lesson: Lesson) -> None:
    proved = claims(lesson, SIZE)
    assert proved.apart == proved.left == 0
    assert proved.agreement > 0.7
    assert 0 < proved.update["p50"] <= proved.update["max"]


def test_a_reservoir_is_a_uniform_sample_and_drops_what_is_taken_back() -> None:
    counts = np.zeros(200)
    for seed in range(100):
        memory = Reservoir(Shape(1, 2, 20, seed))
        for row in range(200):
            memory.keep(np.array([row]), np.zeros((1, 2)), np.array([0]), np.zeros((1, 2)))
        counts[memory.rows] += 1
    assert counts.sum() == 2000 and counts[:100].sum() == pytest.approx(1000, abs=120)
    memory.drop(memory.rows[:5].copy())
    assert len(memory.drawn(20)) == 15


def test_measures_are_those_of_the_books() -> None:
    rng = np.random.default_rng(1)
    gold, said = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    assert f1s(gold, said).mean() == pytest.approx(f1_score(gold, said, average="macro"))
    honest = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(honest, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0)
    assert calibration_error(honest, np.ones(10, np.int64)) == pytest.approx(0.8)


LEARNER = """
import numpy as np
class Learner:
    def __init__(self, variant, shape):
        self.counts = np.ones(shape["labels"])
    def learn(self, features, labels):
        print("noise that is no answer")
        self.counts += np.bincount(labels, minlength=len(self.counts))
    def answer(self, features):
        return np.tile(self.counts / self.counts.sum(), (len(features), 1))
    def kept(self):
        raise ValueError("it cannot tell")
"""


class Own(Rival):
    """A rival whose learner lies elsewhere."""

    @property
    def learner(self) -> Path:
        return Path(self.folder)


def test_a_rival_learns_in_its_own_process_and_its_end_says_why(tmp_path: Path) -> None:
    file = tmp_path / "learner.py"
    file.write_text(LEARNER)
    rival = Own(str(file), "counting")
    with running(Path(sys.executable), rival, tmp_path / "log") as process:
        remote = Remote(process, tmp_path / "log", rival, Shape(WIDTH, LABELS, 5, 0))
        remote.learn(np.arange(10), FEATURES[:10], np.full(10, 2))
        assert remote.answer(FEATURES[:4]).argmax(1).tolist() == [2] * 4
        assert remote.clock() > 0
        with pytest.raises(Unavailable, match="it cannot tell"):
            remote.kept()


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_a_rivals_folder_has_its_learner_and_exact_pins(rival: Rival) -> None:
    assert rival.learner.is_file()
    assert all("==" in line for line in rival.requirements.read_text().splitlines())


def test_goals_compare_with_the_joint_head_and_the_best_rival_and_nobody_meets_nothing(
    lesson: Lesson,
) -> None:
    def ends(score: float) -> list[list[Course]]:
        return [[Course(np.array([9]), np.full((1, 4), score), score, 0.0, 0.0, 1.0, 1.0)] * 2]

    found = {("A, rater", FAST): ends(0.6), ("B, rater", JOINT): ends(0.6)}
    found |= {(lesson, name): ends(score) for lesson in HARD for name, score in ((FAST, 0.6), ("x", 0.5))}
    proved = claims(lesson, SIZE)
    met = {goal.name: goal.met for goal in goals_of(found, ["x", "y"], proved)}
    assert met["B, rater: points ahead of the best rival"]
    alone = {goal.name: goal.met for goal in goals_of(found, [], proved)}
    assert not alone["B, rater: points ahead of the best rival"]
