"""The middle of the slow loop: train a candidate, export it, and let the gates judge it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from perennial import plugins
from perennial.jobs import data, engines, training
from perennial.jobs.balance import balanced
from perennial.jobs.run import Result, Run
from perennial.jobs.workshop import codec_of, cores, pipeline_of, trainable
from perennial.pipeline import Pipeline
from perennial.protocols import Gate, Predictor, Session
from perennial.split import LEAST_TEXTS
from perennial.types import GRAPH, Example

LATENCY_TEXTS = 100
LOOKS_BACK = 1000
"""Jobs, which is more than any golden set may judge."""
TOGETHER = 32
"""Texts of one length that the checkpoint answers as a batch: 1,000 texts took 19 s alone, 6 s so."""


def train(run: Run) -> Result:
    """From the serving release's checkpoint, or for a build from the user's; early stopping on validation."""
    settings, labels = run.settings, run.job.steps["snapshot"]["labels"]
    start = run.parent.folder / "checkpoint" if run.parent else Path(run.job.payload["from"])
    how = settings.rebuild if run.parent else settings.build
    options = training.Options(
        **how.model_dump(exclude={"learner", "batch_size", "threads", "balance"}),
        seed=settings.seed,
        threads=how.threads or cores(),
    )
    task = trainable(run.task)
    learner = plugins.get("learners", how.learner)(batch_size=how.batch_size, seed=settings.seed)
    with run.fresh("train") as folder:
        model = task.load(start, labels)
        report = training.train(
            task,
            learner,
            model,
            training.Material(
                *balanced(run.read("train"), run.read("old"), how.balance), run.read("validation")
            ),
            options,
            folder=run.shop.state.folder("logs", "tensorboard", run.job.service, str(run.job.release)),
            progress=lambda done, total, message: run.report("train", done, total, message),
        )
        task.save(model, folder / "checkpoint")
        task.write_codec(model, run.read("validation"), folder / "codec", settings.abstain_below)
    return {
        "options": {**how.model_dump(), "threads": options.threads},
        "processor": training.processor(),
        "start": str(start),
        "start_sha256": data.file_digest(start.glob("*.safetensors")),
        "report": asdict(report),
    }


def judge_quality(run: Run) -> Result:
    """The checkpoint against the serving release, on the golden set and on held-out fresh feedback.

    A student has learned nothing new: it may be behind, on the whole and on a slice, by as much as its user
    allows, change as many answers more, and need not gain.
    """
    settings, golden = run.settings, run.read("golden")
    allowed = run.job.payload.get("max_drop", 0.0) / 100
    judged_by = data.texts_digest(golden)
    result = _judge(
        run,
        "quality",
        _checkpoint(run),
        _serving(run),
        {"golden": golden, "fresh": run.read("fresh")},
        margin=max(settings.golden_margin, allowed),
        slice_margin=max(settings.slice_margin, allowed),
        most_flips=settings.most_flips + allowed,
        calibration=settings.calibration_margin,
        alpha=settings.alpha,
        look=1 + _looks(run, judged_by),
        looks=settings.golden_looks,
        must_gain=run.job.kind != "compress",
    )
    return {**result, "judged_by": judged_by}


def _looks(run: Run, judged_by: str) -> int:
    """How many other candidates these golden texts have compared with a serving release."""
    jobs = run.shop.store.jobs(run.job.service, LOOKS_BACK)
    others = [job.steps["quality"] for job in jobs if job.id != run.job.id and "quality" in job.steps]
    return sum(one.get("judged_by") == judged_by and "golden.look" in one["figures"] for one in others)


def export(run: Run) -> Result:
    with run.fresh("export") as folder:
        trainable(run.task).export(_model(run), folder)
        return {"bytes": (folder / GRAPH).stat().st_size}


def judge_parity(run: Run) -> Result:
    """The first engine file, quickest to serve first, whose answers are the checkpoint's.

    On all texts that judge: on 500 of them chance alone refused int8, which changes 4 answers in 100, of a
    good release, and in float32 it was then too slow to serve.
    """
    texts = [*run.read("golden"), *run.read("validation")]
    checkpoint, tried = _checkpoint(run), []
    for choice in run.job.steps["engine"]["choices"]:
        candidate = _pipeline(run, _open(run, choice))
        result = _judge(run, "parity", candidate, checkpoint, {"parity": texts, "golden": texts})
        tried.append({**result, **choice})
        if result["outcome"] == "pass":
            break
    return {**tried[-1], "tried": tried}


def judge_latency(run: Run) -> Result:
    """The chosen engine file against the serving release's, in the same run."""
    candidate = _pipeline(run, _open(run, run.job.steps["parity"]))
    texts = run.read("golden")[:LATENCY_TEXTS]
    return _judge(
        run, "latency", candidate, _serving(run), {"latency": texts}, ratio=run.settings.latency_ratio
    )


def _judge(
    run: Run,
    gate: str,
    candidate: Predictor,
    baseline: Predictor | None,
    held_out: dict[str, list[Example]],
    **options: float,
) -> dict[str, Any]:
    texts = {example.text for examples in held_out.values() for example in examples}
    run.report(gate, 0, 0, f"{len(texts)} texts")
    member: Gate = plugins.get("gates", gate)(least_texts=LEAST_TEXTS, **options)
    return asdict(member.judge(candidate, baseline, held_out))


def _model(run: Run) -> Any:
    return trainable(run.task).load(run.folder / "train/checkpoint", run.job.steps["snapshot"]["labels"])


def _pipeline(run: Run, session: Session, together: int = 1) -> Pipeline:
    return Pipeline(codec_of(run.task, run.folder / "train/codec"), session, together)


def _checkpoint(run: Run) -> Pipeline:
    return _pipeline(run, trainable(run.task).session(_model(run)), TOGETHER)


def _serving(run: Run) -> Pipeline | None:
    return pipeline_of(run.base) if run.base else None


def _open(run: Run, choice: engines.Choice) -> Session:
    return engines.engine_for(choice).open(engines.built(run, choice), cores())
