"""What evaluate.py does: a finished student (or any model) answers requests under every tag, beside its earlier self and the teacher.

    summary = run_evaluation(EvaluateSettings.from_config(cfg), sys.argv)

A target is a run directory, a checkpoint or student/ in one, a model directory, or a hub name. One that belongs to a run brings the run's
settings along: pack, requests, teacher and the student before training.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from transformers import PreTrainedModel

from gold_style.config.settings import EVALUATION_PROMPTS, EvaluateSettings, Settings, find_directory
from gold_style.engine.backbone import Backbone
from gold_style.engine.exam import Exam
from gold_style.engine.models import DTYPES, load_model
from gold_style.engine.rollout import GREEDY, OutputIds, Sampling
from gold_style.engine.teacher import Scored, Teacher
from gold_style.job.build import build_teacher
from gold_style.job.inputs import Parts, check_device
from gold_style.measure.answers import Answer, Judged, judge
from gold_style.measure.cheats import cheats
from gold_style.measure.likelihood import likelihood_ratio, likelihood_summary
from gold_style.measure.rates import Toggle, score
from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.prompts import Prompt, build_source
from gold_style.prompts.jsonl import holds_requests, read_requests
from gold_style.runs.files import plain, write_json, write_json_lines, write_text
from gold_style.runs.progress import Progress
from gold_style.runs.provenance import now, provenance
from gold_style.runs.redact import redact
from gold_style.show.report import write_report
from gold_style.show.summary_table import print_summary


@dataclass(frozen=True)
class Target:
    """What is to be evaluated, and the run it came from."""

    model: str  # local directory or hub name
    run: Path | None

    @classmethod
    def find(cls, text: str) -> "Target":
        """Raises ValueError for a run without a student and for a directory that holds neither a run nor a model."""
        path = find_directory(text)
        if not path.exists():
            return cls(text, None)
        if (path / "run.json").is_file():
            if not (path / "student" / "config.json").is_file():
                raise ValueError(f"target={text}: this run has no student/ yet; name one of its checkpoints, or resume={path}")
            return cls(str(path / "student"), path)
        if not (path / "config.json").is_file():
            raise ValueError(f"target={text}: holds neither a run (run.json) nor a model (config.json)")
        run = next((parent for parent in (path.parent, path.parent.parent) if (parent / "run.json").is_file()), None)
        return cls(str(path), run)


def run_settings(asked: EvaluateSettings, target: Target) -> Settings:
    """The settings that the target's run was made with (the defaults for a bare model), with what evaluate.py was asked for on top."""
    if bare_requests(asked):
        asked = replace(asked, prompts=replace(asked.prompts, source=None, eval_samples=None))
    settings = asked.for_target(Settings.load(target.run) if target.run else None)
    settings.model.teacher = asked.teacher or (settings.model.teacher if target.run else target.model)
    if target.run is None:
        settings.model.dtype = asked.model.dtype or "bfloat16"
        settings.train["max_completion_length"] = 128
    settings.loss.lmbda = 1.0  # nothing is trained: rows need no answers, and one row is enough
    settings.train |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    return settings


def bare_requests(asked: EvaluateSettings) -> str | None:
    """The file that was named, where its rows are bare requests (as data/evaluation_prompts.jsonl's) and no conversations."""
    path = asked.prompts.path
    return path if asked.prompts.source == "jsonl" and path and holds_requests(path) else None


def requests_of(asked: EvaluateSettings, target: Target, parts: Parts) -> list[Prompt]:
    """The requests to ask: the run's held-out ones, every row of a file that was named, or data/'s for a bare model."""
    limit = asked.prompts.eval_samples
    if path := bare_requests(asked):
        requests = read_requests(path)
    elif asked.prompts.source in (None, "dynamic") and (target.run or asked.prompts.source):
        requests = list(parts.source.evaluation())
    elif asked.prompts.source is None:
        requests = read_requests(EVALUATION_PROMPTS)
    else:
        settings = replace(parts.settings, prompts=replace(parts.settings.prompts, eval_samples=0, selection_samples=0))
        requests = list(build_source(settings, parts.pack).requests())
    if not requests:
        raise ValueError("no request is held out in that run (prompts.eval_samples=0); name some: prompts=jsonl prompts.path=FILE")
    return requests[:limit] if limit else requests


def run_evaluation(asked: EvaluateSettings, argv: Sequence[str]) -> float:
    """Evaluate, print and write what was asked. Returns the target's margin, NaN where it could not be scored.

    The last line on stdout names the directory that was written. Raises ValueError for the user's mistakes.
    """
    target = Target.find(asked.target)
    settings = run_settings(asked, target)
    directory = Path(asked.output_dir)
    check_device(settings.hardware.device)
    parts = Parts.load(settings)
    if asked.request is not None:
        rows = answer_request(asked.request, target, settings, parts)
        margin = math.nan
        directory.mkdir(parents=True, exist_ok=True)
        write_json_lines(directory / "samples.jsonl", rows)
    else:
        margin = _evaluate(asked, target, settings, parts, directory, argv)
    print(f"run directory: {directory}", flush=True)
    return margin


def answer_request(request: str, target: Target, settings: Settings, parts: Parts) -> list[dict[str, Any]]:
    """Print the target's answer to one request under every tag and without one; returns them as rows of samples.jsonl."""
    prompt = Prompt(request=request, style=parts.pack.untagged, tag=None)
    model = _load(target.model, settings)
    answers = judge(_student_answers(model, settings, parts, [prompt], GREEDY, None), parts.classifier, parts.pack)
    for answer in answers:
        tag = f"<style:{answer.style}>" if answer.style else "(no tag)"
        print(f"{tag} [{answer.verdict}]\n{answer.text}\n")
    return sample_rows({"before": None, "after": answers, "teacher": None})


def _evaluate(asked: EvaluateSettings, target: Target, settings: Settings, parts: Parts, directory: Path, argv: Sequence[str]) -> float:
    started, clock = now(), time.monotonic()
    requests = requests_of(asked, target, parts)
    toggle = Toggle.from_pack(parts.pack)
    samplings = {"greedy": GREEDY}
    if asked.evaluation.sampled:
        loss = settings.loss
        samplings["sampled"] = Sampling(temperature=loss.temperature, top_p=loss.top_p, top_k=loss.top_k)
    found: dict[str, dict[str, list[Judged] | None]] = {}
    with Progress() as progress:
        has_teacher = target.run is not None or asked.teacher is not None
        teacher = build_teacher(settings, parts) if has_teacher else None
        models = {"before": settings.model.student if target.run else None, "after": target.model}
        for name, sampling in samplings.items():
            found[name] = {"teacher": None}
            for role, path in models.items():
                found[name][role] = None
                if path is not None:
                    answers = _student_answers(_load(path, settings), settings, parts, requests, sampling, progress, role)
                    found[name][role] = _judged(answers, requests, parts, teacher)
            if teacher is not None:
                exam = _exam(settings, parts, requests, sampling, progress, "teacher")
                found[name]["teacher"] = _judged(exam.teacher(teacher), requests, parts, teacher)
    samples = found["greedy"]
    summary = run_summary(
        samples,
        toggle,
        steps=0,
        train_seconds=0.0,
        status="completed",
        cheats=cheats(samples["after"], parts.classifier, parts.pack),
        bootstrap_samples=asked.evaluation.bootstrap_samples,
        confidence=asked.evaluation.confidence,
    )
    summary["details"]["backend"] = parts.classifier.backend
    summary["details"]["likelihood"] = {role: likelihood_summary(rows, toggle) for role, rows in samples.items() if rows}
    if "sampled" in found:
        summary["details"]["sampled"] = {role: score(rows, toggle) for role, rows in found["sampled"].items() if rows}
    directory.mkdir(parents=True, exist_ok=True)
    rows = plain(sample_rows(samples))
    write_json_lines(directory / "samples.jsonl", rows)
    write_json(directory / "summary.json", summary)
    write_text(directory / "config.yaml", yaml.safe_dump(plain(redact(settings.to_dict())), sort_keys=False, allow_unicode=True))
    state = redact(provenance(argv)) | {"status": "completed", "target": asked.target, "started": started, "ended": now()}
    write_json(directory / "run.json", state | {"seed": settings.seed, "seconds": time.monotonic() - clock})
    write_report(directory)
    print_summary(summary, rows)
    return math.nan if summary["after"]["margin"] is None else summary["after"]["margin"]


def _load(path: str, settings: Settings) -> PreTrainedModel:
    model = settings.model
    revision = model.student_revision if path == model.student else None
    return load_model(path, DTYPES[model.dtype], revision, model).eval().to(_device(settings))


def _device(settings: Settings) -> torch.device:
    wanted = settings.hardware.device
    return PartialState(cpu=wanted == "cpu").device if wanted != "cuda" else torch.device("cuda")


def _exam(settings: Settings, parts: Parts, requests: list[Prompt], sampling: Sampling, progress: Progress | None, phase: str) -> Exam:
    tags = (*parts.pack.tags, None, misspelt(parts.pack.tags[0]))
    exam = Exam(
        requests=requests,
        chat=parts.chat,
        pack=parts.pack,
        max_completion_length=settings.evaluation.max_completion_length or settings.train["max_completion_length"],
        sampling=sampling,
        seed=settings.seed,
        tags=tags[:-1] if progress is None else tags,
        batch_size=settings.evaluation.batch_size,
    )
    if progress is not None:
        exam.tick = progress.phase(phase, len(exam.prompts))
    return exam


def misspelt(tag: str) -> str:
    """A plausible typing mistake in a tag: its last two letters swapped, or one doubled."""
    return tag[:-2] + tag[-1] + tag[-2] if len(tag) > 2 and tag[-1] != tag[-2] else tag + tag[-1]


def _student_answers(
    model: PreTrainedModel,
    settings: Settings,
    parts: Parts,
    requests: list[Prompt],
    sampling: Sampling,
    progress: Progress | None,
    phase: str = "target",
) -> list[Answer]:
    exam = _exam(settings, parts, requests, sampling, progress, phase)
    return exam.student(Backbone(model), OutputIds.of(parts.chat.student_tokenizer, model))


def _judged(answers: list[Answer], requests: list[Prompt], parts: Parts, teacher: Teacher | None) -> list[Judged]:
    if teacher is not None:
        ratios = likelihood_ratios(teacher, parts, requests, answers)
        answers = [replace(answer, likelihood_ratio=ratio) for answer, ratio in zip(answers, ratios, strict=True)]
    return judge(answers, parts.classifier, parts.pack)


def likelihood_ratios(teacher: Teacher, parts: Parts, requests: list[Prompt], answers: list[Answer]) -> list[float | None]:
    """For each answer log p_T(answer | first tag) - log p_T(answer | neutral tag), nats per token, teacher's system prompt in view."""
    contexts = [[parts.chat.teacher_ids(prompt.under(tag, tag)) for prompt in requests] for tag in (parts.pack.tags[0], parts.pack.neutral)]
    ids = [tuple(teacher.tokenizer(answer.text, add_special_tokens=False)["input_ids"]) if answer.text else () for answer in answers]
    logprobs = [
        teacher.logprobs([Scored(context[answer.id], row) for answer, row in zip(answers, ids, strict=True)]) for context in contexts
    ]
    return [likelihood_ratio(first, neutral) for first, neutral in zip(*logprobs, strict=True)]
