"""Bench `generate`: texts that stream to 8 and 16 clients at once, beside the same ones asked for one after
the other, and beside transformers' own `generate` on the checkpoint and llama.cpp on the sample's 4 bits; and
how soon who goes away makes room.

What is asked are the conversations that the release made up, each for an answer of another length.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from perennial.config import Settings
from perennial.errors import PerennialError, Unavailable
from perennial.jobs import data
from perennial.jobs.workshop import cores
from perennial.samples.chat import FILE
from perennial.server.runinfo import RunInfo
from perennial.server.stubs import stubs
from perennial.types import Bundle
from perennial.writing.request import Request
from perennial_client import Client
from perennial_perf.benches._peer_processes import install
from perennial_perf.benches._peer_processes import run as run_peer
from perennial_perf.benches._sandbox import built, copied, sample, say, serving
from perennial_perf.benches._writing_plots import draw_speed
from perennial_perf.report import Draft, Figures, Goal, Report
from perennial_perf.stats import percentiles

__all__ = ["run"]

SAMPLE, SEED, PATIENCE_S = "chat", 0, 300.0
CLIENTS = (1, 8, 16)
TEXTS, LENGTHS = 64, (16, 32, 64, 96)
QUICK_TEXTS, PEER_TEXTS = 16, 16
CANCELLED, QUICK_CANCELLED, WARM_UP, LEFT_TOKENS = 100, 5, 2, 1000
MOST_LEFT_MB = 10.0
LLAMA_CPP = Path(__file__).parents[2] / "writers/llama_cpp"


@dataclass(frozen=True)
class Asked:
    message: str
    most: int


@dataclass(frozen=True)
class Told:
    """When it was asked, when each piece of the answer came, and how many tokens it has."""

    asked_at: float
    came_at: Sequence[float]
    tokens: int


def run(settings: Settings, *, quick: bool = False) -> Report:
    draft = Draft("generate")
    bundle = built(settings, SAMPLE, takes="five minutes or so")
    texts = _texts(bundle, QUICK_TEXTS if quick else TEXTS)
    cancelled = QUICK_CANCELLED if quick else CANCELLED
    with (
        copied(settings, bundle, "generate", {}) as shop,
        serving(shop) as server,
        Client(server.run.grpc_url, timeout=PATIENCE_S) as client,
    ):
        _stream(client, bundle.service, texts[0])
        say(f"{cancelled} clients go away")
        left = _go_away(server.run, client, bundle.service, texts[0].message, cancelled)
        rows = {}
        for clients in CLIENTS:
            say(f"{clients} streaming to at once")
            rows[clients] = _row(*_load(client, bundle.service, texts, clients))
    say("transformers, one text after the other")
    peer = _transformers(bundle.folder / "checkpoint", texts[:PEER_TEXTS])
    rivals, notes = {"transformers, float32": peer}, list[str]()
    if not quick:
        try:
            rivals["llama.cpp, the sample's Q4_1"] = _llama_cpp(settings, texts[:PEER_TEXTS])
        except Unavailable as error:
            notes.append(f"llama.cpp: {error}")
    picture = settings.folder.folder("reports") / "generate.png"
    draw_speed(rows, rivals, left.times_ms, picture)
    precision, parity = bundle.manifest["precision"], bundle.manifest["verdicts"][1]["figures"]
    figures: Figures = {
        **{f"{clients} clients" if clients > 1 else "1 client": row for clients, row in rows.items()},
        **{f"tokens/s, {name}, one at a time": speed for name, speed in rivals.items()},
        "ms until who goes away has made room": left.times_ms,
        "MB that those who went away left behind": left.kept_mb,
    }
    alone, eight, sixteen = (rows[clients]["tokens/s"] for clients in CLIENTS)
    stall_s = max(row["most ms"] for row in rows.values()) / 1e3
    return draft.report(
        figures,
        [
            Goal("tokens/s of 16 clients over those of one", sixteen / alone, 2.0, ">="),
            Goal("s between two pieces, at most", stall_s, 1.0, "<="),
            Goal("tokens/s of 8 clients over the faster rival's", eight / max(rivals.values()), 1.0, ">="),
            Goal("tokens/s of one client over the faster rival's", alone / max(rivals.values()), 0.9, ">="),
            Goal("ms until who goes away has made room, at most", left.times_ms["most"], 200.0, "<="),
            Goal("texts still written once all went away", left.still_written, 0, "=="),
            Goal("MB that those who went away left behind", left.kept_mb, MOST_LEFT_MB, "<="),
            Goal(f"next tokens as the checkpoint's, {precision}, of 1", parity["agreement"], 0.95, ">="),
        ],
        [
            *notes,
            f"drawn: {picture}",
            f"{len(texts)} conversations that the release made up, answers of at most {LENGTHS} tokens",
            "transformers: the same network in float32, greedy, no batch",
        ],
    )


def _texts(bundle: Bundle, count: int) -> list[Asked]:
    rows = data.read(bundle.folder / "data/memory.jsonl")
    messages = [Request.read(row.text).messages[0]["content"] for row in rows]
    random = Random(SEED)
    return [Asked(random.choice(messages), LENGTHS[number % len(LENGTHS)]) for number in range(count)]


def _stream(client: Client, service: str, asked: Asked) -> Told:
    began, came, tokens = time.perf_counter(), [], 0
    for piece in client.generate(service, asked.message, stream=True, max_tokens=asked.most):
        came.append(time.perf_counter())
        tokens = piece.completion_tokens
    return Told(began, came, tokens)


def _load(client: Client, service: str, texts: Sequence[Asked], clients: int) -> tuple[list[Told], float]:
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        told = list(pool.map(lambda asked: _stream(client, service, asked), texts))
    return told, time.perf_counter() - began


def _row(told: Sequence[Told], took: float) -> dict[str, float]:
    first = percentiles(np.array([one.came_at[0] - one.asked_at for one in told]) * 1e3)
    between = np.array([later - earlier for one in told for earlier, later in pairwise(one.came_at)]) * 1e3
    return {
        "tokens/s": sum(one.tokens for one in told) / took,
        "first ms, p50": first["p50"],
        "first ms, p99": first["p99"],
        "then ms, p50": float(np.percentile(between, 50)),
        "then ms, p99": float(np.percentile(between, 99)),
        "most ms": float(between.max()),
    }


def _transformers(checkpoint: Path, texts: Sequence[Asked]) -> float:
    """Tokens a second."""
    torch.set_num_threads(cores())
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    network = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokens, began = 0, 0.0
    for number, asked in enumerate([texts[0], *texts]):  # the first does not count: it warms up
        if number == 1:
            tokens, began = 0, time.perf_counter()
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": asked.message}], add_generation_prompt=True, return_tensors="pt",
            return_dict=True,
        )  # fmt: skip
        with torch.inference_mode():
            made = network.generate(**prompt, max_new_tokens=asked.most, do_sample=False)
        tokens += made.shape[1] - prompt["input_ids"].shape[1]
    return tokens / (time.perf_counter() - began)


def _llama_cpp(settings: Settings, texts: Sequence[Asked]) -> float:
    """Tokens a second; its binding builds llama.cpp itself, which takes some minutes once."""
    python = install(settings.folder.folder("peers").resolve(), "llama_cpp", LLAMA_CPP / "requirements.txt")
    say("llama.cpp, one text after the other")
    model = sample(settings, SAMPLE).encoder() / FILE
    with TemporaryDirectory() as scratch:
        source, target = Path(scratch, "asked.json"), Path(scratch, "told.json")
        source.write_text(json.dumps([[one.message, one.most] for one in texts]))
        command = [python, LLAMA_CPP / "writes.py", model, source, target, cores()]
        run_peer("writes.py", *map(str, command))
        told = json.loads(target.read_text())
    return float(told["tokens"] / told["seconds"])


@dataclass(frozen=True)
class Left:
    """What became of streams whose readers went away: how long each was still written, how many still were at
    the end, and how much more memory the writer's process holds after them than after the first ones."""

    times_ms: Mapping[str, float]
    still_written: float
    kept_mb: float


def _go_away(run: RunInfo, client: Client, service: str, message: str, count: int) -> Left:
    """Each reads the first piece of a long answer, alone, and goes away. (Those before warm up.)"""
    (writer,) = (
        process
        for folder, processes in stubs(run.server_pid).items()
        if folder.parent.name == f"{service}_writer"
        for process in processes
    )
    times = []
    for number in range(-WARM_UP, count):
        if number == 0:
            began_mb = _mb(writer)
        stream = client.generate(
            service, message, stream=True, max_tokens=LEFT_TOKENS, temperature=1.0, seed=number % 9
        )
        next(stream)
        began = time.perf_counter()
        stream.close()
        while _writing(run):
            if time.perf_counter() - began > PATIENCE_S:
                raise PerennialError(f"a text was still written {PATIENCE_S:g} s after its reader went away")
        times.append(1e3 * (time.perf_counter() - began))
    told = percentiles(np.array(times[WARM_UP:]))
    return Left({**told, "most": max(times[WARM_UP:])}, _writing(run), _mb(writer) - began_mb)


def _writing(run: RunInfo) -> float:
    (line,) = (
        line
        for line in httpx.get(run.metrics_url, timeout=10).text.splitlines()
        if line.startswith("perennial_texts_writing{")
    )
    return float(line.split()[-1])


def _mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20
