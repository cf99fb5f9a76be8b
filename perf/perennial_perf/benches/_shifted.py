"""Sentences of news as people would write them in a hurry, on a phone: another domain, whose spans are known.

Made from text by rules and chance: nobody wrote them.
"""

from __future__ import annotations

import json
from random import Random

from perennial.types import Example

MISSPELT, SHORTENED, TAGGED = 0.15, 0.1, 0.1
"""The shares of words that lose or swap a letter, that lose their vowels, and that get a #."""
SHORT = {"you": "u", "are": "r", "to": "2", "for": "4", "and": "&", "with": "w/", "at": "@", "be": "b"}
_LONG = 4
"""Letters of a word that may be misspelt."""


def shifted(example: Example, seed: int) -> Example:
    """A sentence whose words stand apart by one space each, in lower case and misspelt, with its spans."""
    random, spans = Random(f"{seed}:{example.text}"), json.loads(example.label)
    starts, ends, text, place = {}, {}, "", 0
    for word in example.text.split(" "):
        text += " " if text else ""
        starts[place], place = len(text), place + len(word)
        text += _hurried(word, random)
        ends[place], place = len(text), place + 1
    moved = [[starts[start], ends[end], name] for start, end, name in spans]
    return Example(text, json.dumps(moved), source=example.source)


def _hurried(word: str, random: Random) -> str:
    word = SHORT.get(word.lower(), word.lower())
    chance = random.random()
    if len(word) < _LONG or not word.isalpha():
        return word
    if chance < MISSPELT:
        at = random.randrange(1, len(word) - 1)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return random.choice((swapped, word[:at] + word[at + 1 :]))
    if chance < MISSPELT + SHORTENED:
        return word[0] + "".join(letter for letter in word[1:] if letter not in "aeiou")
    return f"#{word}" if chance < MISSPELT + SHORTENED + TAGGED else word
