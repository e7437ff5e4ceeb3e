"""Judged answers -> what a directory holds about them; train.py and evaluate.py write the same.

summary = write_results(run, inputs, {"before": None, "after": answers, "teacher": None})
"""

from typing import Any

from gold_style.job.inputs import Inputs
from gold_style.measure.cheats import cheats
from gold_style.measure.rates import Toggle, score
from gold_style.measure.samples import MODELS, Samples, sample_rows
from gold_style.measure.summary import run_summary
from gold_style.measure.verdict import verdict
from gold_style.runs.run import Run
from gold_style.show.summary_table import without_misspelt

TABLE = {  # tracker's column -> key
    "request": "request",
    "tag": "style",
    **{name: key for model in MODELS for name, key in ((model, model), (f"{model}'s verdict", f"verdict_{model}"))},
}


def write_results(
    run: Run,
    inputs: Inputs,
    samples: Samples,
    sampled: Samples | None = None,
    *,
    steps: int = 0,
    train_seconds: float = 0.0,
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write samples.jsonl, tell the tracker, and give the run its summary. Returns the summary.

    Args: greedy answers by model; answers drawn at the run's temperature, scored in the details; what else goes into the details.
    """
    evaluation, toggle, after = inputs.settings.evaluation, Toggle.from_pack(inputs.pack), samples["after"]
    summary = run_summary(
        samples,
        toggle,
        steps=steps,
        train_seconds=train_seconds,
        status="completed",
        cheats=cheats(after, inputs.classifier, inputs.pack) if after else None,
        bootstrap_samples=evaluation.bootstrap_samples,
        confidence=evaluation.confidence,
    )
    summary["details"] |= {"backend": inputs.classifier.backend} | (details or {})
    if sampled is not None:
        summary["details"]["sampled"] = {model: score(answers, toggle) for model, answers in sampled.items() if answers}
    summary["details"]["verdict"] = verdict(summary, inputs.settings.model.recipe.max_steps)
    rows = sample_rows(samples)
    run.write_samples(rows)
    run.write_summary(summary)
    run.log_table("samples", list(TABLE), [[row[key] for key in TABLE.values()] for row in without_misspelt(rows, summary)])
    return summary
