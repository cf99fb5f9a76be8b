"""The middle of the slow loop: train a candidate, export it, and let the gates judge it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from perennial import plugins
from perennial.config import TrainingSettings
from perennial.jobs import confusion, data, engines, fit, noise, regression, said, shadow
from perennial.jobs.bundle import sets
from perennial.jobs.learn import Learner
from perennial.jobs.live_head import ANCHORS, JUDGES, has_head
from perennial.jobs.run import MISTAKES, Result, Run
from perennial.jobs.workshop import codec_of, cores, pipeline_of, trainable
from perennial.pipeline import Pipeline, Remembered
from perennial.protocols import Gate, Predictor, Session
from perennial.split import LEAST_TEXTS
from perennial.task_protocol import Compressible
from perennial.types import Bundle, Example, Tensors

LATENCY_TEXTS = 100
LOOKS_BACK = 1000
"""Jobs, which is more than any golden set may judge."""
TOGETHER = 32
"""Texts of one length that the checkpoint answers as a batch: 1,000 texts took 19 s alone, 6 s so."""
BEHIND = {False: 0.02, True: 0.03}
"""How far an engine file may be behind the checkpoint, of what does not write and of what does: int8 changes
3 of 100 next tokens, and where a network has learned what it is asked, nearly all that change were right. Of
one good release 5 of 558 were behind and 1 ahead: with two more .02 would have refused it."""


def train(run: Run) -> Result:
    """From the serving release's checkpoint, or for a build from the user's; early stopping on validation."""
    how = fit.settings_of(run)
    with run.fresh("train") as folder:
        if run.read("train"):
            if how.noise_filter:
                _leave_out_mistakes(run, how, folder)
            (fit.fit if how.processes == 1 else fit.launch)(run, folder)
        else:
            fit.keep_as_it_is(run, folder)
    return fit.result(run.folder / "train")


def _leave_out_mistakes(run: Run, how: TrainingSettings, folder: Path) -> None:
    """What the filter leaves out of training stands in `folder`, for a person and for the memory."""
    run.report("train", 0, 0, "looking for mistaken labels")
    task, threads = trainable(run.task), how.threads or cores()
    mistakes = noise.mistaken(
        cast(Compressible, task),
        fit.model_of(run, task),
        run.read("train"),
        run.read("old"),
        plugins.labels_of(run.task).kind,
        seed=run.settings.seed,
        threads=threads,
    )
    data.write(folder / MISTAKES, mistakes)


def judge_quality(run: Run) -> Result:
    """The checkpoint against the serving release, on the golden set and on held-out fresh feedback.

    What serves may have a head that learned of the same feedback already: here it answers as if none had told
    of the texts that judge, and a candidate that is not behind it anywhere need not gain. Nor need a student,
    which has learned nothing new: it may be behind, on the whole and on a slice, by as much as its user
    allows, and change as many answers more.
    """
    if run.base is None and not run.read("train"):
        reason = "given, not judged: it came without texts"
        return {"gate": "quality", "outcome": "pass", "reason": reason, "figures": {}}
    if run.base and plugins.labels_of(run.task).writes:
        return _judge_what_it_writes(run, run.base)
    golden = run.read("golden")
    held_out = {"golden": golden, "fresh": run.read("fresh")}
    candidate = Remembered(_checkpoint(run))
    _write_confusion(run, candidate, held_out)
    judged_by, serving = data.texts_digest(golden), _serving(run)
    learned = _give_head(run, serving, held_out) if serving else False
    must_gain = not learned and run.job.kind != "compress"
    result = _judge(run, "quality", candidate, serving, held_out, **_limits(run, judged_by, must_gain))
    return {**result, "judged_by": judged_by}


def _limits(run: Run, judged_by: str, must_gain: bool) -> dict[str, Any]:
    settings, allowed = run.settings, run.job.payload.get("max_drop", 0.0) / 100
    return {
        "margin": max(settings.golden_margin, allowed),
        "slice_margin": max(settings.slice_margin, allowed),
        "most_flips": settings.most_flips + allowed,
        "calibration": settings.calibration_margin,
        "alpha": settings.alpha,
        "look": 1 + _looks(run, judged_by),
        "looks": settings.golden_looks,
        "must_gain": must_gain,
    }


def _judge_what_it_writes(run: Run, base: Bundle) -> Result:
    """First, since it is soonest told, what it has unlearned; then whether it writes what is wanted, and how.
    One that fails is told of alone."""
    judged_by = data.texts_digest(run.read("golden"))
    unlearned = asdict(regression.judge(run, base))
    if unlearned["outcome"] != "pass":
        return {**unlearned, "judged_by": judged_by}
    candidate, serving = Remembered(_checkpoint(run)), Remembered(pipeline_of(base))
    part = plugins.labels_of(run.task).parts
    fresh = [replace(row, label=next(iter(part(row.label).values()))) for row in run.read("fresh")]
    gates: dict[str, dict[str, Any]] = {
        "quality": _limits(run, judged_by, must_gain=True),
        "guardrails": {"forbidden": run.settings.never_say},
    }
    figures = unlearned["figures"]
    for gate, limits in gates.items():
        result = _judge(run, gate, candidate, serving, {"fresh": fresh}, **limits)
        figures = {**figures, **result["figures"]}
        if result["outcome"] != "pass":
            break
    reason = f"{unlearned['reason']}; {result['reason']}"
    return {**result, "reason": reason, "figures": figures, "judged_by": judged_by}


def _give_head(run: Run, serving: Pipeline, held_out: dict[str, list[Example]]) -> bool:
    """Have what serves answer with its head, as if no row had told of these texts; whether it has learned
    any."""
    if run.base is None or not has_head(run.base):
        return False
    learner = Learner(run.shop, run.base, run.shop.store.head_orders(run.job.service))
    learner.recall()
    serving.codec.take_head(
        learner.live.blind(example.text for examples in held_out.values() for example in examples)
    )
    return bool(learner.live.rows)


def _write_confusion(run: Run, candidate: Predictor, held_out: dict[str, list[Example]]) -> None:
    """For a person; also of a candidate that is then refused. Of a task that tells nothing apart, none."""
    if not candidate.codec.told_apart:
        return
    matrices = {
        name: candidate.codec.confusion(candidate.answers([row.text for row in examples]), examples)
        for name, examples in held_out.items()
        if examples
    }
    names = candidate.codec.told_apart
    confusion.keep(run.shop.state, run.job.service, run.job.release, names, matrices)


def _looks(run: Run, judged_by: str) -> int:
    """How many other candidates these golden texts have compared with a serving release."""
    jobs = run.shop.store.jobs(run.job.service, LOOKS_BACK)
    others = [job.steps["quality"] for job in jobs if job.id != run.job.id and "quality" in job.steps]
    return sum(one.get("judged_by") == judged_by and "golden.look" in one["figures"] for one in others)


def export(run: Run) -> Result:
    with run.fresh("export") as folder:
        trainable(run.task).export(_model(run), folder)
        return {"bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())}


def judge_parity(run: Run) -> Result:
    """The first engine file, quickest to serve first, whose answers are the checkpoint's.

    On all texts that judge: on 500 of them chance alone refused int8, which changes 4 answers in 100, of a
    good release, and in float32 it was then too slow to serve.
    """
    checkpoint, tried = Remembered(_checkpoint(run)), []
    texts = checkpoint.codec.probes([*run.judging(), *run.read("validation")])
    writes = plugins.labels_of(run.task).writes
    for choice in run.job.steps["engine"]["choices"]:
        candidate = _pipeline(run, _open(run, choice))
        sets = {"parity": texts, "golden": texts}
        result = _judge(run, "parity", candidate, checkpoint, sets, margin=BEHIND[writes])
        tried.append({**result, **choice})
        if result["outcome"] == "pass":
            break
    return {**tried[-1], "tried": tried}


def judge_latency(run: Run) -> Result:
    """The chosen engine file against the serving release's, in the same run."""
    candidate = chosen(run)
    texts = candidate.codec.probes(run.judging())[:LATENCY_TEXTS]
    return _judge(
        run, "latency", candidate, _serving(run), {"latency": texts}, ratio=run.settings.latency_ratio
    )


def answer_in_shadow(run: Run) -> Result:
    """To texts that users asked of late, beside what serves; for a person, and no gate."""
    return shadow.compare(run, chosen(run))


def prepare_head(run: Run) -> Result:
    """What the candidate's engine says of the texts that will hold its head in place, and of those that will
    judge it."""
    pipeline, known = chosen(run), sets(run)
    names = [name for name in (ANCHORS, JUDGES) if pipeline.codec.feature_size and known[name][0]]
    total, done = sum(len(known[name][0]) for name in names), 0
    with run.fresh("head") as folder:
        for name in names:
            texts, outputs = [example.text for example in known[name][0]], list[Tensors]()
            for start in range(0, len(texts), TOGETHER):
                outputs += pipeline.outputs(texts[start : start + TOGETHER])
                done += TOGETHER
                run.report("head", min(done, total), total, f"{name} texts")
            said.write(folder / f"{name}.npz", outputs)
    return {"rows": total}


def chosen(run: Run) -> Pipeline:
    """The candidate on the engine file that passed the parity gate."""
    return _pipeline(run, _open(run, run.job.steps["parity"]))


def _judge(
    run: Run,
    gate: str,
    candidate: Predictor,
    baseline: Predictor | None,
    held_out: dict[str, list[Example]],
    **options: Any,
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
