"""summary.json: S of the student before and after and of the teacher, the share of the gap closed, and the details.

Example: `run_summary({"before": None, "after": judged, "teacher": None}, Toggle.from_pack(pack), steps=0,
train_seconds=0, status="completed")`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gold_style.measure.answers import Judged
from gold_style.measure.details import details
from gold_style.measure.rates import MANY_AMBIGUOUS, Toggle, gap_closed, joint_score, score, share
from gold_style.measure.samples import MODELS, Samples
from gold_style.verdicts import AMBIGUOUS

FEW_PROMPTS = 64  # below it the report warns
CUT_ANSWERS = 0.5  # share of answers at the length limit above which the report warns


def warnings(scores: dict[str, Any], answers: Sequence[Judged], toggle: Toggle) -> list[str]:
    """What a reader of S must know, a sentence each."""
    said = []
    if scores["prompts"] < FEW_PROMPTS:
        said.append(f"only {scores['prompts']} requests per tag (fewer than {FEW_PROMPTS}): the intervals are wide")
    if scores["ambiguous"] is None:
        said.append("no answer to score")
    elif scores["ambiguous"] > MANY_AMBIGUOUS:
        said.append(f"{scores['ambiguous']:.0%} of the answers are ambiguous (over {MANY_AMBIGUOUS:.0%}): no headline")
    else:
        for tag in toggle.verdicts:
            unclear = share([answer for answer in answers if answer.style == tag], lambda answer: answer.verdict == AMBIGUOUS)
            if unclear and unclear > MANY_AMBIGUOUS:
                said.append(f"{unclear:.0%} of the answers under <style:{tag}> are ambiguous and left out of its rates")
    unclear = share([answer for answer in answers if answer.style is None], lambda answer: answer.verdict == AMBIGUOUS)
    if unclear and unclear > MANY_AMBIGUOUS:
        said.append(f"{unclear:.0%} of the answers without a tag are ambiguous (over {MANY_AMBIGUOUS:.0%}): no rate for them")
    answers = [answer for answer in answers if answer.style in toggle.verdicts]
    cut = share(answers, lambda answer: None if answer.finished is None else not answer.finished)
    if cut and cut > CUT_ANSWERS:
        said.append(f"{cut:.0%} of the answers ran into the length limit; their last, broken sentence is not judged")
    if share(answers, lambda answer: None if answer.content is None else bool(answer.topic)) == 0:
        said.append("no topics are known: content is judged by the content words of the requests")
    return said


def run_summary(
    samples: Samples,
    toggle: Toggle,
    *,
    steps: int,
    train_seconds: float,
    status: str,
    cheats: dict[str, Sequence[Judged]] | None = None,
    bootstrap_samples: int = 2000,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """The content of summary.json; S of a model that was not asked is None.

    `cheats`: name -> judged answers of a trivial answerer on the same requests (gold_style.measure.cheats).
    """
    scores = {model: score(samples[model], toggle) if samples.get(model) else None for model in MODELS}
    said = {model: warnings(scores[model], samples[model], toggle) for model in MODELS if scores[model]}
    gap = gap_closed(*(scores[model] for model in MODELS))
    if gap is None and all(scores[model] and scores[model]["margin"] is not None for model in MODELS):
        said.setdefault("teacher", []).append("the teacher's margin is not above the student's before training: there is no gap to close")
    summary = {
        **scores,
        "gap_closed": gap,
        "steps": steps,
        "train_seconds": train_seconds,
        "status": status,
        "details": {
            "toggle": asdict(toggle),
            "warnings": said,
            **details(samples, toggle, samples_drawn=bootstrap_samples, confidence=confidence),
            "cheats": {name: {**score(answers, toggle), "joint": joint_score(answers, toggle)} for name, answers in (cheats or {}).items()},
        },
    }
    return json.loads(json.dumps(summary, allow_nan=False))  # as it will be read from the file: no tuples, no NaN
