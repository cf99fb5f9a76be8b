"""The sample of texts that were asked: which share, how many, and never in an answer's way."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from perennial.repository.layout import Release
from perennial.serve.sampling import Sampling
from perennial.stores import open_store
from perennial.types import Array, text_tensor


def sampling(url: str, share: float = 1.0, texts: int = 500) -> Sampling:
    release = Release("mood", 3, "classify", "", "", 1, 1, {}, shadow_share=share, shadow_texts=texts)
    return Sampling(release, url)


def asked(*texts: str) -> Array:
    return text_tensor([*texts])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def kept(url: str) -> list[str]:
    with closing(open_store(url)) as store:
        return store.requests("mood")


def test_the_newest_texts_are_kept_and_one_that_no_store_takes_is_not(url: str) -> None:
    sampled = sampling(url, texts=3)
    sampled.take(asked("first", "second"))
    sampled.take(asked("third", "no\0ne"))
    sampled.stop()
    again = sampling(url, texts=3)
    again.take(asked("fourth"))
    again.stop()
    assert kept(url) == ["fourth", "third", "second"]


def test_a_share_of_them_is_kept(url: str) -> None:
    sampled = sampling(url, share=0.2, texts=10_000)
    sampled.take(asked(*map(str, range(2000))))
    sampled.stop()
    assert 300 < len(kept(url)) < 500


def test_a_store_that_is_away_stops_no_answer_and_is_told_once(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store.db").mkdir()
    sampled = sampling(url, texts=5)
    for turn in range(3):
        sampled.take(asked(*(f"{turn} {n}" for n in range(1000))))
        sampled._visits.now()
    assert len(sampled._waiting) <= 5
    sampled.stop()
    assert len([one for one in caplog.records if "the sample of texts does not grow" in one.message]) == 1
