"""Bench `embed`: vectors beside those of the encoder as transformers runs it, what a search among 11,000
documents adds to a request, and what a head learns of 500 judgements.

The data is 20 Newsgroups as retrieval: a post wants any of its group, which nobody judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from perennial.config import Settings
from perennial.jobs.workshop import Workshop, codec_of, cores, engine_of, trainable
from perennial.pipeline import Pipeline, engine_inputs
from perennial.server.process import Server
from perennial.types import Array, Bundle, Example, Exported
from perennial_client import Client, Feedback
from perennial_perf import payloads
from perennial_perf.benches._learned import PATIENCE_S, until_learned
from perennial_perf.benches._rebuilds import worker
from perennial_perf.benches._sandbox import built, copied, sample, say, serving, target
from perennial_perf.load import Plan, background
from perennial_perf.report import Draft, Figures, Goal, Report
from perennial_perf.stats import Floats, percentiles

__all__ = ["run"]

SAMPLE, SEED = "topics", 0
CLIENTS, TOP_K, ROUNDS = 8, 10, 5
COMPARED, JUDGED, JUDGING, SECONDS = 300, 500, 1500, 8.0
QUICK = (30, 60, 60, 1.0)
"""Texts whose vectors are compared; judgements that are sent, and texts that are asked before and after; and
how long each load lasts."""


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft, known = Draft("embed"), sample(settings, SAMPLE)
    bundle = built(settings, SAMPLE, takes="twenty minutes or more")
    compared, judged, judging, seconds = QUICK if quick else (COMPARED, JUDGED, JUDGING, SECONDS)
    later = [Example(row.text, row.label) for rows in known.stream().values() for row in rows]
    Random(SEED).shuffle(later)
    likeness = _likeness(bundle, [row.text for row in later[:compared]])
    lessons, held_out = later[:judged], later[judged:][:judging]
    with (
        copied(settings, bundle, "embed", {}) as shop,
        serving(shop) as server,
        worker(shop),
        Client(server.run.grpc_url) as client,
    ):
        embedding, searching = _latencies(server, bundle.service, [row.text for row in held_out], seconds)
        before = _scores(client, bundle, held_out)
        lag_s = _judge(client, shop, bundle, lessons)
        after = _scores(client, bundle, held_out)
    added = {name: searching[name] - embedding[name] for name in searching}
    figures: Figures = {
        "documents": len(known.documents()),
        **{f"cosine to transformers, {name}": _spread(cosines) for name, cosines in likeness.items()},
        f"ms, {CLIENTS} clients: the vector alone": embedding,
        f"ms, {CLIENTS} clients: a search": searching,
        f"ms, {CLIENTS} clients: the search adds": added,
        "found, as built": before,
        f"… with what its head learned of {len(lessons)} judgements": after,
        "from the last receipt to the answers of a head that learned all, s": lag_s,
    }
    return draft.report(
        figures,
        [
            Goal("cosine to transformers, fp32, least", float(likeness["fp32"].min()), 0.999, ">="),
            Goal("cosine to transformers, int8, least", float(likeness["int8"].min()), 0.99, ">="),
            Goal(
                "cosine to transformers, int8-mixed, least", float(likeness["int8-mixed"].min()), 0.99, ">="
            ),
            Goal("ms that a search adds, p99", added["p99"], 5.0, "<="),
            Goal("nDCG@10 gained by the judgements", after["ndcg@10"] - before["ndcg@10"], 0.0, ">="),
        ],
        [
            "relevant is derived: whatever was sent to the same group",
            f"served in {bundle.manifest['precision']}; asked about {len(held_out)} posts that nobody judged",
        ],
    )


def _likeness(bundle: Bundle, texts: Sequence[str]) -> dict[str, Floats]:
    """The cosine of each text's vector in each precision to what transformers gives for the checkpoint."""
    say("comparing vectors with those of transformers")
    reference = _reference(bundle.folder / "checkpoint", texts)
    task, codec = trainable(bundle.manifest["task"]), codec_of(bundle.manifest["task"], bundle.folder)
    found = {}
    with TemporaryDirectory() as scratch:
        folder, engine = Path(scratch), engine_of("onnxruntime")
        task.export(task.load(bundle.folder / "checkpoint", []), folder)
        exported = Exported(folder, engine_inputs(codec, texts), codec.longest)
        for precision in ("fp32", "int8", "int8-mixed"):
            file = engine.build(exported, folder / precision, precision)
            with closing(engine.open(file, cores())) as session:
                ours = np.concatenate([one["vector"] for one in Pipeline(codec, session).outputs(texts)])
            found[precision] = np.einsum("td,td->t", ours, reference).astype(np.float64)
    return found


def _reference(checkpoint: Path, texts: Sequence[str]) -> Array:
    """(texts, size): the mean of the last hidden states, of length 1, as the encoder's card has it."""
    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), AutoModel.from_pretrained(checkpoint).eval()
    found: list[Any] = []
    with torch.inference_mode():
        for text in texts:
            asked = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            hidden, mask = model(**asked).last_hidden_state, asked["attention_mask"].unsqueeze(-1)
            found.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)))
    vectors: Array = torch.cat(found).numpy()
    return vectors


def _latencies(
    server: Server, service: str, texts: Sequence[str], seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """In ms, of texts' vectors alone and of searches, asked in turn so that what else the machine does hits
    both."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for waits, top_k in zip(found, (0, TOP_K), strict=True):
            plan = Plan(target(server), CLIENTS, seconds=seconds)
            with background(plan, payloads.queries(service, texts, top_k)) as load:
                waits.extend(load.wait().latency_ms.tolist())
    return percentiles(found[0]), percentiles(found[1])


def _scores(client: Client, bundle: Bundle, rows: Sequence[Example]) -> dict[str, float]:
    codec = codec_of(bundle.manifest["task"], bundle.folder)
    found = client.search(bundle.service, [row.text for row in rows], TOP_K, timeout=PATIENCE_S)
    answers = [
        {"DOCUMENTS": np.array([[hit.document.encode() for hit in one.hits]], np.object_)} for one in found
    ]
    return dict(codec.score(answers, rows).metrics)


def _judge(client: Client, shop: Workshop, bundle: Bundle, lessons: Sequence[Example]) -> float:
    """Search, and say what was wanted; how many seconds later a head that has learned all of it answers."""
    found = client.search(bundle.service, [row.text for row in lessons], TOP_K, timeout=PATIENCE_S)
    client.feedback_many([Feedback.on(one, row.label) for one, row in zip(found, lessons, strict=True)])
    return until_learned(shop, bundle)


def _spread(cosines: Floats) -> dict[str, float]:
    return {"least": float(cosines.min()), "mean": float(cosines.mean())}
