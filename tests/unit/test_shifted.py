"""What texts in a hurry keep of the sentences that they are made of."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from perennial.types import Example
from perennial_perf.benches._shifted import shifted

WORDS = st.lists(st.text(alphabet="abcdefgXYZ", min_size=1, max_size=9), min_size=3, max_size=12)


@given(WORDS, st.integers(0, 5))
def test_spans_stand_at_the_same_words(words: list[str], seed: int) -> None:
    ends = len(words[0]) + 1 + len(words[1])
    first, second = [0, len(words[0]), "PER"], [ends + 1, ends + 1 + len(words[2]), "LOC"]
    made = shifted(Example(" ".join(words), json.dumps([first, second])), seed)
    said = made.text.split(" ")
    spans = [(made.text[start:end], name) for start, end, name in json.loads(made.label)]
    assert len(said) == len(words) and made.text == made.text.lower()
    assert spans == [(said[0], "PER"), (said[2], "LOC")]


def test_the_same_seed_makes_the_same_text_and_another_one_another() -> None:
    text = "Rotterdam beats Feyenoord supporters waiting outside Amsterdam stadium gates yesterday"
    made = [shifted(Example(text, "[]"), seed).text for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
