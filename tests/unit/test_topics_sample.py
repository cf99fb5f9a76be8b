"""The sample of topical retrieval, from a table laid out as the real one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.plugins import labels_of
from perennial.samples.topics import TAUGHT, Topics
from wheels import lay_out

HEADER = "Category\tText\nd\tstring\nclass\t\n\n"


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topics:
    later = "".join(f"sci.space\tpost {number}\n" for number in range(TAUGHT + 3))
    tables = {
        "train": f"{HEADER}sci.space\tto the moon\nsci.med\taah\nsci.space\tand back\n",
        "test": HEADER + later,
    }
    lay_out(
        monkeypatch,
        {f"orangecontrib/text/datasets/20newsgroups-{name}.tab": text for name, text in tables.items()},
    )
    made = Topics(tmp_path)
    made.fetch(lambda line: None)
    return made


def test_posts_are_found_by_their_groups(sample: Topics) -> None:
    assert sample.documents() == {
        "sci.space/1": "to the moon",
        "sci.med/1": "aah",
        "sci.space/2": "and back",
    }
    (label,) = {row.label for row in sample.data()}
    assert label == labels_of("embed").read('["sci.space/"]', "a post", None)


def test_later_posts_are_taught_or_come_later_never_both(sample: Topics) -> None:
    taught = {row.text for row in sample.data()}
    (stream,) = sample.stream().values()
    assert len(taught) == TAUGHT and len(stream) == 3
    assert not taught & {row.text for row in stream}
    assert all(row.ratings == (row.label,) for row in stream)
