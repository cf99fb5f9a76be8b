"""A tagger as a user of transformers makes it: AutoModelForTokenClassification under its Trainer.

Knows words and their classes; `words_of` and `classes_of` read them from a text and its spans.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)

from perennial.types import UNTOLD, Example

OUTSIDE = "O"
AT_ONCE = 64


def words_of(text: str) -> list[str]:
    return text.split(" ")


def classes_of(text: str, spans: Sequence[tuple[int, int, str]]) -> list[str]:
    """Of the words of a text. A word is of the first span that reaches into it."""
    found, place, last = list[str](), 0, None
    for word in words_of(text):
        start, end = place, place + len(word)
        inside = next((span for span in spans if span[0] < end and start < span[1]), None)
        found.append(f"{'I' if inside == last else 'B'}-{inside[2]}" if inside else OUTSIDE)
        place, last = end + 1, inside
    return found


def gold(example: Example) -> list[str]:
    return classes_of(example.text, [(start, end, name) for start, end, name in json.loads(example.label)])


class PlainTagger:
    def __init__(self, encoder: Path, examples: Sequence[Example], seed: int, **how: Any) -> None:
        """Teach it; `how` is for transformers.TrainingArguments."""
        self._tokenizer = AutoTokenizer.from_pretrained(encoder)
        self._classes = sorted({name for example in examples for name in gold(example)})
        self._model = AutoModelForTokenClassification.from_pretrained(
            encoder, num_labels=len(self._classes), id2label=dict(enumerate(self._classes))
        )
        # It tells on standard output how it gets on, which is the report's.
        with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
            Trainer(
                self._model,
                TrainingArguments(folder, seed=seed, use_cpu=True, report_to=[], save_strategy="no", **how),
                data_collator=DataCollatorForTokenClassification(self._tokenizer),
                train_dataset=[self._features(example) for example in examples],
            ).train()

    def classes(self, texts: Sequence[str]) -> list[list[str]]:
        """Of the words of each text."""
        self._model.eval()
        found: list[list[str]] = []
        for start in range(0, len(texts), AT_ONCE):
            words = [words_of(text) for text in texts[start : start + AT_ONCE]]
            asked = self._tokenizer(
                words, is_split_into_words=True, truncation=True, padding=True, return_tensors="pt"
            )
            with torch.inference_mode():
                best = self._model(**asked).logits.argmax(-1)
            for row, of_text in enumerate(words):
                classes = [OUTSIDE] * len(of_text)
                for word, token in _first_tokens(asked.word_ids(row)):
                    classes[word] = self._classes[best[row, token]]
                found.append(classes)
        return found

    def _features(self, example: Example) -> dict[str, list[int]]:
        asked = self._tokenizer(words_of(example.text), is_split_into_words=True, truncation=True)
        classes, labels = gold(example), [UNTOLD] * len(asked["input_ids"])
        for word, token in _first_tokens(asked.word_ids()):
            labels[token] = self._classes.index(classes[word])
        return {**asked, "labels": labels}


def _first_tokens(words: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Of each word that has one, its first token."""
    last = None
    for token, word in enumerate(words):
        if word is not None and word != last:
            yield word, token
        last = word
