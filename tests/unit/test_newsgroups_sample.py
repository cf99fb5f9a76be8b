"""The newsgroups sample, from a table laid out as the real one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.samples import newsgroups
from perennial.samples._newsgroups import MOST_CHARACTERS
from perennial.samples.newsgroups import Newsgroups
from perennial.types import Example, Rated
from wheels import lay_out

HEADER = "Category\tText\nd\tstring\nclass\t\n\n"
BOOK = "a book " * MOST_CHARACTERS


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Newsgroups:
    tables = {
        "train": f"{HEADER}sci.space\tto the moon\nsci.med\t{BOOK}\nsci.med\t\n",
        "test": f'{HEADER}sci.space\tTo the  moon\nsci.med\tsay "aah\n',
    }
    lay_out(
        monkeypatch,
        {f"orangecontrib/text/datasets/20newsgroups-{name}.tab": text for name, text in tables.items()},
    )
    made = Newsgroups(tmp_path)
    made.fetch(lambda line: None)
    return made


def test_a_long_post_is_cut_and_an_empty_one_left_out(sample: Newsgroups) -> None:
    assert sample.data() == [
        Example("to the moon", "sci.space", source="train"),
        Example(BOOK[:MOST_CHARACTERS].strip(), "sci.med", source="train"),
    ]


def test_the_later_posts_are_the_stream_without_those_that_were_there_before(sample: Newsgroups) -> None:
    assert sample.stream() == {"test": [Rated('say "aah', "sci.med", ("sci.med",))]}


def test_the_licence_is_said_before_the_download(
    tmp_path: Path, sample: Newsgroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    newsgroups.Newsgroups(tmp_path / "other").fetch(said.append)
    assert "AGPL" in said[-1]
