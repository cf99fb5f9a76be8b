"""A transformer small enough to train and serve inside a test, whose vocabulary spells any ASCII word."""

from __future__ import annotations

import json
import string
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from perennial.types import Example

LABELS = ("negative", "neutral", "positive")
SPAN_LABELS = ("BAD", "GOOD")
TONES = {
    "negative": ("awful", "boring", "terrible", "bad"),
    "neutral": ("plain", "average", "ordinary", "usual"),
    "positive": ("great", "lovely", "wonderful", "good"),
}
_COMMON = ("the", "movie", "was", "a", "very", "day", "and", "it", "quite")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_tokenizer() -> Tokenizer:
    """WordPiece over a few words and every ASCII character, as BERT frames it."""
    words = [*_COMMON, *(word for tone in TONES.values() for word in tone)]
    letters = string.ascii_lowercase + string.digits
    pieces = [*_SPECIAL, *words, *letters, *(f"##{letter}" for letter in letters), *string.punctuation]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    frame = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=frame
    )
    return tokenizer


def tiny_encoder(folder: Path) -> Path:
    """A Hugging Face folder: BERT of 2 layers, hidden size 32 and 64 positions."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.set_num_threads(1)  # threads that wait for each other cost tiny tensors more than they save
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special)
    fast.save_pretrained(folder)
    return folder


def tiny_codec(
    folder: Path, labels: tuple[str, ...] = LABELS, temperature: float = 1.0, threshold: float = 0.0
) -> Path:
    """The files of a `classify` codec, written without torch."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    known = {"labels": list(labels), "max_tokens": 64, "pad_id": 0}
    (folder / "labels.json").write_text(json.dumps(known))
    calibration = {"temperature": temperature, "threshold": threshold}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    return folder


def tiny_tagger(folder: Path, temperature: float = 1.0, threshold: float = 0.0) -> Path:
    """The files of a `tag` codec, written without torch."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    classes = ["O", *(f"{part}-{name}" for name in SPAN_LABELS for part in "BI")]
    known = {"labels": classes, "max_tokens": 64, "pad_id": 0, "features": 32}
    (folder / "labels.json").write_text(json.dumps(known))
    calibration = {"temperature": temperature, "threshold": threshold, "slope": 0.25}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    return folder


TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('there is no ' + message['role']) }}{% endif %}"
    "<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tiny_letters() -> Tokenizer:
    """A token for each byte, and those that frame a conversation."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True) for token in ("<end>", "<system>", "<user>", "<assistant>")]
    )
    return tokenizer


def tiny_chat(folder: Path) -> Path:
    """The files of a `generate` codec, written without torch."""
    import numpy as np

    from perennial.writing.chat import Chat
    from perennial.writing.meaning import MEANING, word_vectors

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_letters()
    Chat(tokenizer, TEMPLATE, {"eos_token": "<end>"}).write(folder)
    embeddings = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 64))
    np.save(folder / MEANING, word_vectors(embeddings, range(256, len(embeddings))))
    return folder


def tiny_writer(folder: Path) -> Path:
    """A Hugging Face folder: Llama of 2 layers, hidden size 64 and 256 positions, which writes nonsense."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    tokenizer = tiny_letters()
    end = tokenizer.token_to_id("<end>")
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return folder


DOCUMENTS = {
    **{f"day/{number}": f"day {number} it was plain" for number in range(6)},
    **{f"film/{number}": f"the movie number {number} was great" for number in range(6)},
}


TONED = {
    f"{label}/{number}": f"it was a {TONES[label][number % 4]} day number {number}"
    for label in LABELS
    for number in range(16)
}
"""Documents whose tone word gives their folder away."""


def tiny_queries(count: int = 60) -> list[Example]:
    """The sentences of `tiny_examples`, which want the documents of their tone."""
    return [Example(row.text, wanting(f"{row.label}/")) for row in tiny_examples(count)]


def wanting(document: str) -> str:
    """The label of a text that wants it."""
    return json.dumps([{"document": document, "said": "relevant"}])


def tiny_searcher(folder: Path) -> Path:
    """The files of an `embed` codec, written without torch, whose documents' vectors are made up."""
    import numpy as np

    from perennial.ranking.index import Index

    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "embed.json").write_text(json.dumps({"size": 32, "max_tokens": 64, "pad_id": 0}))
    vectors = np.random.default_rng(0).normal(size=(len(DOCUMENTS), 32))
    Index.of([*DOCUMENTS], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).write(folder)
    return folder


def tiny_recommender(folder: Path) -> Path:
    """The files of a `recommend` codec, written without torch, whose items' vectors are made up."""
    import numpy as np

    from perennial.ranking.index import Index

    folder.mkdir(parents=True, exist_ok=True)
    known = {"size": 32, "scale": 10.0, "offset": -10.0, "users": 4096, "strangers": 64}
    (folder / "recommend.json").write_text(json.dumps(known))
    vectors = np.random.default_rng(0).normal(size=(len(TONED), 32))
    Index.of([*TONED], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).write(folder)
    return folder


def asking(user: str, *items: str) -> str:
    """What a service that recommends is asked."""
    return json.dumps({"user": user, "items": items})


def tiny_tastes(count: int = 120) -> list[Example]:
    """Users who took items of one tone, and want another one of it."""
    rows = []
    for number in range(count):
        tone, start = LABELS[number % len(LABELS)], number // len(LABELS)
        ids = [f"{tone}/{(start + step) % 16}" for step in range(4 + number % 3)]
        rows.append(Example(asking(f"user {number}", *ids[:-1]), wanting(ids[-1])))
    return rows


def tiny_release(encoder: Path, folder: Path) -> Path:
    """A classifier that knows the tone words: see `taught`."""
    return taught("classify", encoder, LABELS, tiny_examples(48), 40, folder)


def tiny_tagger_release(encoder: Path, folder: Path) -> Path:
    """A tagger that knows the tone words: see `taught`."""
    return taught("tag", encoder, SPAN_LABELS, tiny_spans(48), 120, folder)


def taught(
    name: str, encoder: Path, labels: tuple[str, ...], examples: list[Example], steps: int, folder: Path
) -> Path:
    """What a task learned of examples: checkpoint/, the exported model.onnx and the codec's files."""
    import torch

    from perennial import plugins

    torch.manual_seed(0)  # else what was tested before would have its say
    task = plugins.get(f"tasks/{name}", "train")()
    model = task.load(encoder, labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        task.loss(model, examples).backward()
        optimizer.step()
    task.save(model, folder / "checkpoint")
    task.export(model, folder)
    task.write_codec(model, examples, folder, abstain_below=0.0)
    return folder


def tiny_examples(count: int = 60) -> list[Example]:
    """Sentences whose tone word gives the label away, in many lengths; the labels take turns."""
    return [_example(number) for number in range(count)]


def _example(number: int) -> Example:
    label = LABELS[number % len(LABELS)]
    tone = TONES[label][number // len(LABELS) % 4]
    return Example(f"the movie number {number} was {'very ' * (number % 7)}{tone}", label)


def tiny_spans(count: int = 60) -> list[Example]:
    """The same sentences, whose tone word is a span, unless it is a plain one."""
    return [_with_span(example) for example in tiny_examples(count)]


def _with_span(example: Example) -> Example:
    name = {"negative": "BAD", "positive": "GOOD"}.get(example.label)
    start = example.text.rindex(" ") + 1
    return Example(example.text, json.dumps([[start, len(example.text), name]] if name else []))


def spoken(number: int, word: str, name: str) -> Example:
    """A sentence about a day whose last word is a span."""
    text = f"day {number} it was {word}"
    return Example(text, json.dumps([[len(text) - len(word), len(text), name]] if name else []))
