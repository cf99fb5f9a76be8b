"""What somebody says of an answer that was written, as a label."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from perennial.errors import BadRequest
from perennial.tasks.generate.labels import GenerateLabels
from perennial.writing.wanted import Wanted
from perennial_client import Feedback, Generated

LABELS = GenerateLabels()
BOTH = json.dumps({"wanted": "yes", "rejected": "no"})


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Blue.", Wanted("Blue.")),
        (BOTH, Wanted("yes", "no")),
        ('{"rejected": "no"}', Wanted(None, "no")),
        ('{"wanted": "yes", "rejected": null}', Wanted("yes")),
        ('{"wanted": "It was", "goes_on": true}', Wanted("It was", goes_on=True)),
        ('{"goes_on": true}', Wanted('{"goes_on": true}')),
        ('{"name": "Ann"}', Wanted('{"name": "Ann"}')),
        ("{not JSON", Wanted("{not JSON")),
        ('{"wanted": "{\\"wanted\\": \\"a\\"}"}', Wanted('{"wanted": "a"}')),
    ],
)
def test_a_label_is_read_and_has_one_form(label: str, said: Wanted) -> None:
    assert Wanted.read(label) == said
    assert Wanted.read(said.label) == said
    assert LABELS.read(label, "hello", None) == said.label


@pytest.mark.parametrize(
    "label", [" ", '{"wanted": " "}', '{"rejected": 3}', '{"wanted": "a", "rejected": ["b"]}']
)
def test_a_label_without_a_text_is_refused(label: str) -> None:
    with pytest.raises(BadRequest, match="give the answer that you would have wanted"):
        LABELS.read(label, "hello", None)


def test_whether_it_goes_on_is_true_or_false() -> None:
    with pytest.raises(BadRequest, match="goes_on is 1; give true"):
        LABELS.read('{"wanted": "It was", "goes_on": 1}', "hello", None)


def test_what_several_say_adds_up_to_a_pair() -> None:
    assert LABELS.parts("yes") == {"wanted": "yes"}
    assert [*LABELS.parts(BOTH)] == ["wanted", "rejected"]
    parts = {**LABELS.parts('{"rejected": "no"}'), **LABELS.parts("yes")}
    assert Wanted.read(LABELS.whole(parts.values())) == Wanted("yes", "no")
    assert Wanted.read(LABELS.whole(LABELS.parts('{"rejected": "no"}').values())) == Wanted(None, "no")
    begun = Wanted("It was", "no", goes_on=True)
    assert Wanted.read(LABELS.whole(LABELS.parts(begun.label).values())) == begun


def test_an_answer_is_judged_by_what_is_wanted_else_by_what_is_rejected() -> None:
    assert (Wanted("yes", "no").text, Wanted("yes", "no").score(0.75)) == ("yes", 0.75)
    assert (Wanted(None, "no").text, Wanted(None, "no").score(0.75)) == ("no", 0.25)


def test_of_a_text_that_goes_on_the_beginning_counts() -> None:
    assert (
        Wanted("It was", goes_on=True).alike("It was a long day.") == 1.0 > Wanted("It was").alike("It was a")
    )
    assert Wanted("It was", goes_on=True).alike("It is so") < 1.0


def test_thumbs_and_corrections_of_the_client_are_labels() -> None:
    answer = Generated("no", "stop", 0.5, 7, 1, "chat.3.x", "hello", "chat", 3)
    assert Wanted.read(Feedback.on(answer, answer.liked).label) == Wanted("no")
    cut = replace(answer, finish_reason="length")
    assert Wanted.read(Feedback.on(cut, cut.liked).label) == Wanted("no", goes_on=True)
    assert Wanted.read(Feedback.on(answer, answer.disliked()).label) == Wanted(None, "no")
    assert Wanted.read(Feedback.on(answer, answer.disliked("yes")).label) == Wanted("yes", "no")
