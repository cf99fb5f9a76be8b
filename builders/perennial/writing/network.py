"""A network that writes, with its tokenizer: what transformers loads as a causal language model.

Reads safetensors and fast tokenizers only, and never runs code that comes with a checkpoint.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from perennial.encoders.network import readable
from perennial.types import Array
from perennial.writing.chat import Chat
from perennial.writing.request import Request

MOST_TOKENS = 1024
"""Of a text that is learned; the beginning of a longer one is left out."""
_AT_ONCE = 32


class Said(NamedTuple):
    """What a request (`text`) is answered with, and whether the answer `ends` there."""

    text: str
    answer: str
    ends: bool = True


class CausalModel(nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    def __init__(self, network: Any, tokenizer: Any) -> None:
        super().__init__()
        self.network, self.tokenizer = network, tokenizer
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        special = {
            name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)
        }
        self.chat = Chat(backend, str(tokenizer.chat_template or ""), special)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def ends(self) -> list[int]:
        """The tokens that end a text; the first is what an answer is taught to end with."""
        found = self.network.generation_config.eos_token_id
        return list(found) if isinstance(found, list) else [found]

    @property
    def length(self) -> int:
        return int(getattr(self.network.config, "max_position_embeddings", None) or MOST_TOKENS)

    def log_shares(self, said: Sequence[Said]) -> list[Tensor]:
        """Of each answer the logarithms of the probabilities of its tokens: (tokens,). Differentiable."""
        return [log_shares(*place) for place in self.places(said)]

    def places(self, said: Sequence[Said]) -> list[tuple[Tensor, Tensor]]:
        """Of each answer what the network says where its tokens stand, and these: (tokens, vocabulary),
        float32 and differentiable, and (tokens,)."""
        if not said:
            return []
        prompts = [self.chat.tokens(Request.read(one.text))[-MOST_TOKENS // 2 :] for one in said]
        rows = list(zip(prompts, map(self.tokens, said), strict=True))
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(prompt + answer) for prompt, answer in rows], batch_first=True
        )
        mask = nn.utils.rnn.pad_sequence(
            [torch.ones(len(prompt) + len(answer)) for prompt, answer in rows], batch_first=True
        )
        ids = ids.to(self.device)
        hidden = self.network.base_model(input_ids=ids, attention_mask=mask.to(self.device)).last_hidden_state
        found = []
        for row, (prompt, answer) in enumerate(rows):
            start, end = len(prompt), len(prompt) + len(answer)
            logits = self.network.lm_head(hidden[row, start - 1 : end - 1]).float()
            found.append((logits, ids[row, start:end]))
        return found

    def tokens(self, said: Said) -> list[int]:
        """Of the answer, the end with them where it ends."""
        ids = self.chat.tokenizer.encode(said.answer, add_special_tokens=False).ids
        return [*ids, *(self.ends[:1] if said.ends else [])][: MOST_TOKENS // 2]


def log_shares(logits: Tensor, tokens: Tensor) -> Tensor:
    """The logarithms of the probabilities of tokens, of what is said where they stand: (tokens,)."""
    return logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def load(checkpoint: Path) -> CausalModel:
    """From a Hugging Face folder, or one that holds a model as GGUF, whose weights are widened to float32."""
    one_file = next((file.name for file in sorted(checkpoint.glob("*.gguf"))), None)
    with readable(checkpoint) as source:
        how = {"gguf_file": one_file} if one_file else {"use_safetensors": True}
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, gguf_file=one_file)
        network = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.float32, trust_remote_code=False, **how
        )
        if one_file:
            network = _unquantised(network)
        if not tokenizer.is_fast:
            raise ValueError("it has no fast tokenizer")
        if network.generation_config.eos_token_id is None:
            raise ValueError("it names no token that ends a text (eos_token_id)")
        return CausalModel(network.eval(), tokenizer)


def _unquantised(network: Any) -> Any:
    """It no longer says that its weights were narrower: transformers saves none that does."""
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    network.hf_quantizer = None
    return network


def save(model: CausalModel, folder: Path) -> None:
    """What `load` reads."""
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


def written(model: CausalModel, prompts: Sequence[Sequence[int]], most: int, seed: int) -> list[list[int]]:
    """How the network itself goes on, each token drawn by its probability: at most so many each, without what
    ends a text."""
    torch.manual_seed(seed)
    found: list[list[int]] = []
    for start in range(0, len(prompts), _AT_ONCE):
        rows = [[*prompt] for prompt in prompts[start : start + _AT_ONCE]]
        longest = max(map(len, rows))
        ids = torch.tensor([[model.ends[0]] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        with torch.inference_mode():
            made = model.network.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=True, temperature=1.0,
                top_k=0, top_p=1.0, eos_token_id=model.ends, pad_token_id=model.ends[0],
            )  # fmt: skip
        for row in made[:, longest:].tolist():
            end = next((place for place, token in enumerate(row) if token in model.ends), len(row))
            found.append(row[:end])
    return found


class TorchDecoder:
    """The checkpoint as a decoder (`writer.Decoder`) that writes one text at a time, in float32."""

    slots = 1

    def __init__(self, model: CausalModel) -> None:
        self._network = model.network.eval()
        self.length = model.length
        self.ends: Collection[int] = frozenset(model.ends)
        self._cache: Any = None
        self._one = "logits_to_keep" in inspect.signature(self._network.forward).parameters

    def read(self, slot: int, tokens: Sequence[int], place: int) -> Array:  # noqa: ARG002
        if place == 0:
            self._cache = DynamicCache(config=self._network.config)
        told = {"logits_to_keep": 1} if self._one else {}
        with torch.inference_mode():
            said = self._network(
                input_ids=torch.tensor([[*tokens]]), past_key_values=self._cache, use_cache=True, **told
            )
        logits: Array = said.logits[:, -1].numpy()
        return logits

    def step(self, tokens: Sequence[int], places: Sequence[int]) -> Array:
        return self.read(0, tokens, places[0])

    def move(self, source: int, target: int, length: int) -> None:
        """There is no other slot."""

    def close(self) -> None:
        self._cache = None
