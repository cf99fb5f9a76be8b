"""A codec and a session as one predictor, in process: what gates compare and benches call bare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from perennial.protocols import Predictor, Session
from perennial.task_protocol import Codec
from perennial.types import Tensors, text_tensor


class Pipeline:
    """Answers texts each at its own length: no answer depends on a neighbour's padding.

    Up to `together` texts of one length run as a batch. An engine that quantises as it runs would answer them
    otherwise than alone; in float32 that is twice as quick.
    """

    def __init__(self, codec: Codec, session: Session, together: int = 1) -> None:
        self.codec = codec
        self.session = session
        self._together = together

    def outputs(self, texts: Sequence[str]) -> list[Tensors]:
        """The engine's outputs and what the tokenizer carried past it, for each text (batch of 1)."""
        encoded = self.codec.encode([request_of([text]) for text in texts])
        names = [spec.name for spec in self.codec.signature.engine_in]
        done: list[Tensors] = [{} for _ in texts]
        for alike in self._alike(encoded, names):
            asked = {name: np.concatenate([encoded[place][name] for place in alike]) for name in names}
            outputs = self.session.run(asked)
            for row, place in enumerate(alike):
                carried = {name: array for name, array in encoded[place].items() if name not in names}
                done[place] = {**{name: array[row : row + 1] for name, array in outputs.items()}, **carried}
        return done

    def decode(self, texts: Sequence[str], outputs: Sequence[Tensors]) -> list[Tensors]:
        """The answers that `outputs` gave for these texts."""
        return self.codec.decode([request_of([text]) for text in texts], outputs)

    def answers(self, texts: Sequence[str]) -> list[Tensors]:
        return self.decode(texts, self.outputs(texts))

    def _alike(self, encoded: Sequence[Tensors], names: Sequence[str]) -> Iterator[list[int]]:
        """The places of texts whose tensors have the same shapes, `together` at most."""
        places = defaultdict(list)
        for place, tensors in enumerate(encoded):
            places[tuple(tensors[name].shape for name in names)].append(place)
        for alike in places.values():
            yield from (
                alike[start : start + self._together] for start in range(0, len(alike), self._together)
            )


class Remembered:
    """A predictor that asks another one for each text once, however often it is asked itself."""

    def __init__(self, predictor: Predictor) -> None:
        self.codec = predictor.codec
        self._predictor = predictor
        self._known: dict[str, Tensors] = {}

    def outputs(self, texts: Sequence[str]) -> list[Tensors]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._predictor.outputs(new), strict=True))
        return [self._known[text] for text in texts]

    def decode(self, texts: Sequence[str], outputs: Sequence[Tensors]) -> list[Tensors]:
        return self._predictor.decode(texts, outputs)

    def answers(self, texts: Sequence[str]) -> list[Tensors]:
        return self.decode(texts, self.outputs(texts))


def engine_inputs(codec: Codec, texts: Sequence[str]) -> list[Tensors]:
    """For each text its `engine_in` tensors alone, of one row."""
    names = [spec.name for spec in codec.signature.engine_in]
    encoded = codec.encode([request_of([text]) for text in texts])
    return [{name: tensors[name] for name in names} for tensors in encoded]


def request_of(texts: Sequence[str]) -> Tensors:
    """One request for all of the texts."""
    return {"TEXT": text_tensor(list(texts))}
