"""A codec and a session as one predictor, in process: what gates compare and benches call bare."""

from __future__ import annotations

from collections.abc import Sequence

from perennial.protocols import Codec, Session
from perennial.types import Tensors, text_tensor


class Pipeline:
    """Answers texts one at a time, each at its own length: no answer depends on a neighbour's padding."""

    def __init__(self, codec: Codec, session: Session) -> None:
        self.codec = codec
        self.session = session

    def outputs(self, texts: Sequence[str]) -> list[Tensors]:
        """The engine's outputs and what the tokenizer carried past it, for each text (batch of 1)."""
        engine_in = {spec.name for spec in self.codec.signature.engine_in}
        done = []
        for encoded in self.codec.encode([_request(text) for text in texts]):
            asked = {name: array for name, array in encoded.items() if name in engine_in}
            carried = {name: array for name, array in encoded.items() if name not in engine_in}
            done.append({**self.session.run(asked), **carried})
        return done

    def decode(self, texts: Sequence[str], outputs: Sequence[Tensors]) -> list[Tensors]:
        """The answers that `outputs` gave for these texts."""
        return self.codec.decode([_request(text) for text in texts], outputs)

    def answers(self, texts: Sequence[str]) -> list[Tensors]:
        return self.decode(texts, self.outputs(texts))


def _request(text: str) -> Tensors:
    return {"TEXT": text_tensor([text])}
