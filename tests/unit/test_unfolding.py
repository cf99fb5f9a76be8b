"""Text while its tokens come: whole characters, in order, and nothing that a stop string may begin."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.writing.unfolding import Unfolding


def decode(tokens: Sequence[int]) -> str:
    """As byte-level tokenizers do: a token is a byte here."""
    return bytes(tokens).decode("utf-8", "replace")


def unfolded(text: str, stops: Sequence[str] = ()) -> tuple[list[str], Unfolding]:
    unfolding = Unfolding(decode, stops)
    pieces = []
    for token in text.encode():
        pieces.append(unfolding.add(token))
        if unfolding.stopped:
            return pieces, unfolding
    return [*pieces, unfolding.end()], unfolding


@given(st.text())
def test_the_pieces_are_the_text_and_no_character_is_broken(text: str) -> None:
    pieces, _ = unfolded(text)
    assert "".join(pieces) == text
    assert all(
        "\N{REPLACEMENT CHARACTER}" not in piece
        for piece in pieces
        if "\N{REPLACEMENT CHARACTER}" not in text
    )


@given(st.text("ab!", max_size=30), st.lists(st.text("ab!", min_size=1, max_size=4), max_size=3))
def test_it_ends_before_the_first_stop_string_and_holds_its_beginning_back(
    text: str, stops: list[str]
) -> None:
    pieces, unfolding = unfolded(text, stops)
    places = [text.index(stop) for stop in stops if stop in text]
    assert (unfolding.stopped is not None) == bool(places)
    said = "".join(pieces)
    assert text.startswith(said)
    assert not any(stop in said for stop in stops)
    if not places:
        assert said == text


@pytest.mark.parametrize("text", ["é", "日本", "🎉!"])
def test_what_is_cut_within_a_character_is_given_at_the_end(text: str) -> None:
    unfolding = Unfolding(decode, [])
    pieces = [unfolding.add(token) for token in text.encode()[:-1]]
    assert "".join([*pieces, unfolding.end()]).startswith(text[:-1])
