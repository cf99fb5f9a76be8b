"""The sample of what people watched, from tables laid out as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.plugins import labels_of
from perennial.samples.movies import INSIDE, NEWEST, PERIODS, Movies
from wheels import lay_out

ITEMS = 'item_id:token\ttitle\tyear\tclass\n1\tToy "Story"\t1995\tComedy\n2\tAlien\t1979\tHorror\n'
HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Movies:
    watched = "".join(f"7\t{1 + number % 2}\t5\t{1000 - number}\n" for number in range(140))
    lay_out(monkeypatch, {f"{INSIDE}.item": ITEMS, f"{INSIDE}.inter": f"{HEADER}10\t2\t1\t1\n{watched}"})
    made = Movies(tmp_path)
    made.fetch(lambda line: None)
    return made


def test_a_film_is_its_title_year_and_kinds(sample: Movies) -> None:
    assert sample.documents() == {"1": 'Toy "Story" (1995): Comedy', "2": "Alien (1979): Horror"}


def test_each_wants_what_he_watched_next_and_the_newest_films_are_told(sample: Movies) -> None:
    first, second, third, *_ = sample.data()
    assert (first.text, second.text) == ('{"user": "10", "items": []}', '{"user": "7", "items": []}')
    assert json.loads(third.text) == {"user": "7", "items": ["2"]}
    assert {row.label for row in (first, second)} == {labels_of("recommend").read("2", first.text, None)}
    assert len(json.loads(sample.data()[-1].text)["items"]) == NEWEST


def test_the_stream_is_what_came_later_in_periods(sample: Movies) -> None:
    built, stream = sample.data(), sample.stream()
    assert len(built) == 70 and [*stream] == [f"period {number + 1}" for number in range(PERIODS)]
    assert {len(rows) for rows in stream.values()} == {14}
    assert not {row.text for row in built} & {row.text for row in stream["period 1"]} or len(built) > NEWEST
