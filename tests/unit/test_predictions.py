"""A prediction id proves that this release answered this text, and nothing else does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.errors import BadRequest
from perennial.predictions import prediction_id, verify

KEY, TEXT = b"k" * 32, "schön 🎬".encode()


@given(text=st.binary(max_size=200), release=st.integers(1, 9_999_999_999))
def test_an_id_proves_its_service_release_and_text(text: bytes, release: int) -> None:
    claimed = prediction_id("my-service", release, text, KEY)
    found = verify(claimed, text, KEY)
    assert (found.service, found.release) == ("my-service", release)
    assert found.at == pytest.approx(time.time(), abs=60)


def test_two_answers_to_one_text_have_two_ids() -> None:
    assert prediction_id("sentiment", 1, TEXT, KEY) != prediction_id("sentiment", 1, TEXT, KEY)


@given(text=st.binary(max_size=50).filter(lambda text: text != TEXT))
def test_an_id_proves_nothing_of_another_text(text: bytes) -> None:
    with pytest.raises(BadRequest, match="not issued for this text"):
        verify(prediction_id("sentiment", 1, TEXT, KEY), text, KEY)


def test_an_id_of_another_key_is_refused() -> None:
    with pytest.raises(BadRequest, match="not issued"):
        verify(prediction_id("sentiment", 1, TEXT, b"other"), TEXT, KEY)


@given(data=st.data())
def test_no_character_of_an_id_can_be_changed(data: st.DataObject) -> None:
    claimed = prediction_id("sentiment", 12, TEXT, KEY)
    place = data.draw(st.integers(0, len(claimed) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != claimed[place]))
    with pytest.raises(BadRequest):
        verify(claimed[:place] + other + claimed[place + 1 :], TEXT, KEY)


@given(claimed=st.text(max_size=60))
def test_anything_else_is_refused_with_the_form_of_an_id(claimed: str) -> None:
    with pytest.raises(BadRequest, match=r"not of the form service\.release\.ULID\.tag"):
        verify(claimed, TEXT, KEY)
