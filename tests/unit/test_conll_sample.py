"""The sample of CoNLL-2003, from a file laid out as the real one is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perennial.plugins import labels_of
from perennial.samples.conll import Conll, labelled
from perennial.types import Example, Rated
from wheels import lay_out

EU = "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\nGerman JJ B-NP B-MISC\ncall NN I-NP O\n\n"
DOCUMENT = "-DOCSTART- -X- -X- O\n\n"


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Conll:
    files = {
        "train": DOCUMENT + EU,
        "valid": f"{DOCUMENT}{EU}Peter NNP B-NP B-PER\nBlackburn NNP I-NP I-PER\n",
        "test": f"{DOCUMENT}Oslo NNP B-NP B-LOC\nNorway NNP B-NP B-LOC\n\n",
    }
    lay_out(monkeypatch, {f"neuroner/data/conll2003/en/{name}.txt": text for name, text in files.items()})
    made = Conll(tmp_path)
    made.fetch(lambda line: None)
    return made


def test_a_sentence_stands_in_one_set_with_its_names_in_characters(sample: Conll) -> None:
    assert sample.data() == [
        Example("EU rejects German call", '[[0, 2, "ORG"], [11, 17, "MISC"]]', source="train"),
        Example("Peter Blackburn", '[[0, 15, "PER"]]', source="valid"),
    ]


def test_names_beside_each_other_stay_two(sample: Conll) -> None:
    label = '[[0, 4, "LOC"], [5, 11, "LOC"]]'
    assert sample.stream() == {"test": [Rated("Oslo Norway", label, (label,))]}


def test_labels_have_the_one_form_that_the_task_knows(sample: Conll) -> None:
    for row in sample.data():
        assert labels_of(sample.task).read(row.label, row.text, None) == row.label


def test_a_name_that_lacks_its_beginning_begins() -> None:
    text, label = labelled([("in", "O"), ("New", "I-LOC"), ("York", "I-LOC"), ("EU", "I-ORG")])
    assert (text, json.loads(label)) == ("in New York EU", [[3, 11, "LOC"], [12, 14, "ORG"]])
