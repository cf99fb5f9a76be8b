"""Copies of rows with some words changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perennial.errors import Unavailable
from perennial.jobs.augment import RATE, augmented, synonyms
from perennial.types import Example

LONG = [Example(" ".join(f"{row}word{n}" for n in range(40)), "x", 0.5, "ann", row) for row in range(50)]
LICENCE = "  1 This software and database is being provided to you\n"
NOUNS = """00217014 04 n 02 destruction 0 devastation 0 001 @ 00209943 n 0000 | a termination
00217499 04 n 03 disaster 0 Catastrophe 1 act_of_God 0 000 | an event
00217500 04 n 02 devastation 0 ruin 0 000 | another sense
"""


@pytest.fixture
def wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """WordNet's format, with three meanings of nouns and one of an adjective."""
    lines = {"noun": NOUNS, "adj": "00185020 00 s 02 galore(ip) 0 aplenty 0 000 | in great numbers\n"}
    for kind in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{kind}").write_text(LICENCE + lines.get(kind, ""))
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    return tmp_path


def test_a_copy_lacks_some_words_and_is_its_row_in_all_else() -> None:
    more = augmented(LONG, ["word-dropout"], seed=0)
    assert more[:50] == LONG and more == augmented(LONG, ["word-dropout"], seed=0)
    copies = more[50:]
    for copy in copies:
        row = LONG[copy.row or 0]
        assert (copy.label, copy.weight, copy.source) == (row.label, row.weight, row.source)
        left = iter(row.text.split())
        assert all(word in left for word in copy.text.split()), "the others are in their order"
    gone = 1 - sum(len(copy.text.split()) for copy in copies) / (40 * len(copies))
    assert gone == pytest.approx(RATE, abs=0.03)


def test_what_would_not_change_or_be_empty_has_no_copy() -> None:
    rows = [Example("word", "x") for _ in range(100)]
    assert augmented(rows, ["word-dropout"], seed=0) == rows
    assert augmented(LONG, [], seed=0) == LONG


def test_only_words_that_mean_one_thing_have_synonyms_and_those_are_single_words(wordnet: Path) -> None:
    assert synonyms(wordnet) == {
        "destruction": ["devastation"],
        "disaster": ["catastrophe"],
        "catastrophe": ["disaster"],
        "ruin": ["devastation"],
        "galore": ["aplenty"],
        "aplenty": ["galore"],
    }


def test_a_synonym_stands_where_the_word_stood_among_its_commas(wordnet: Path) -> None:
    row = Example("(Disaster), a ruin! " * 30, "x")
    _, copy = augmented([row], ["synonyms"], seed=0)
    words = set(copy.text.split())
    assert words == {"(Disaster),", "(catastrophe),", "a", "ruin!", "devastation!"}
    assert len(copy.text.split()) == 90


def test_without_wordnet_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get install wordnet-base"):
        augmented(LONG, ["synonyms"], seed=0)
