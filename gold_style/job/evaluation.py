"""What evaluate.py does: a finished student (or any model) answers requests under every tag, beside its earlier self and the teacher.

    margin = evaluate(EvaluateSettings.from_config(cfg), sys.argv)

A target (gold_style.config.target) that belongs to a run brings the run's settings along: pack, requests, teacher and the student
before training.
"""

import functools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gold_style.config.hub import missing_models
from gold_style.config.own_teacher import teachers_by_key
from gold_style.config.settings import EVALUATION_PROMPTS, EvaluateSettings, Settings
from gold_style.config.target import Target
from gold_style.engine.backbone import Backbone
from gold_style.engine.exam import Exam
from gold_style.engine.models import DTYPES, load_model
from gold_style.engine.reader import Reader
from gold_style.engine.rollout import OutputIds
from gold_style.engine.teacher import Scored, Teacher
from gold_style.job.build import build_options
from gold_style.job.inputs import Inputs, device_of
from gold_style.job.obstacles import check_device
from gold_style.job.results import write_results
from gold_style.job.retention import Retention
from gold_style.job.teacher import build_teacher
from gold_style.job.teacher_check import Say, check_readings
from gold_style.measure.answers import Answer, Judged
from gold_style.measure.likelihood import likelihood_ratio, likelihood_summary
from gold_style.measure.rates import Toggle
from gold_style.measure.samples import Samples, sample_rows
from gold_style.prompts import Prompt, build_source
from gold_style.prompts.jsonl import holds_requests, read_requests
from gold_style.runs.progress import Progress
from gold_style.runs.provenance import now, provenance
from gold_style.runs.redact import redact, say
from gold_style.runs.run import Run, recorded
from gold_style.runs.run_directory import template_date, write_config
from gold_style.runs.summary_number import summary_number
from gold_style.show.ending import last_lines
from gold_style.show.report import write_report
from gold_style.show.summary_table import print_summary


def evaluate(asked: EvaluateSettings, argv: Sequence[str]) -> float:
    """Ask, print and write what was asked for. Returns the target's margin, NaN where it could not be scored.

    The last line on stdout names the directory that was written, if one was. Raises ValueError for the user's mistakes.
    """
    target = Target.find(asked)
    inputs = inputs_of(asked, target)
    run = Run(Path(asked.output_dir), None, is_main=True) if asked.output_dir else None
    for note in inputs.chat.notes:
        say(note)
    summary = score_target(asked, target, inputs, run, argv) if asked.request is None else answer_request(asked, target, inputs, run)
    if run is not None:
        print(f"run directory: {run.directory}", flush=True)
    return summary_number(summary, "after.margin")


def inputs_of(asked: EvaluateSettings, target: Target) -> Inputs:
    """Everything that is read before any weights. Raises ValueError where target or teacher cannot be had, and as Inputs.load."""
    settings = settings_of(asked, target)
    names = {"target": (target.model, settings.model.student_revision)}
    names |= {key.replace("model.", ""): (own.teacher, own.teacher_revision) for key, own in teachers_by_key(settings).items()}
    if missing := missing_models({key: model for key, model in names.items() if key == "target" or model[0] != target.model}):
        raise ValueError("\n".join(missing))
    check_device(settings.hardware.device)
    return Inputs.load(settings, template_date(target.run))


def settings_of(asked: EvaluateSettings, target: Target) -> Settings:
    """The settings that the target's run was made with (the defaults for a bare model), with what evaluate.py was asked for on top."""
    if bare_requests(asked):
        asked = replace(asked, prompts=replace(asked.prompts, source=None, eval_samples=None))
    settings = asked.for_target(Settings.load(target.run) if target.run else None)
    if asked.teacher or not target.run:
        settings.model.teacher, settings.model.teachers = asked.teacher or target.model, None
    if asked.tags is not None:
        settings.evaluation.untagged = None in asked.tags
    if settings.evaluation.retention and not target.run:
        raise ValueError(f"evaluation.retention=true: {asked.target} belongs to no run, so there is no start to compare it with")
    if target.run is None:
        settings.model.student = target.model
        settings.model.dtype = asked.model.dtype or "bfloat16"
        settings.train["max_completion_length"] = 128
    settings.loss.lmbda = 1.0  # nothing is trained: rows need no answers, and one row is enough
    settings.train |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    return settings


def bare_requests(asked: EvaluateSettings) -> str | None:
    """The file that was named, where its rows are bare requests (as data/evaluation_prompts.jsonl's) and no conversations."""
    path = asked.prompts.path
    return path if asked.prompts.source == "jsonl" and path and holds_requests(path) else None


def requests_of(asked: EvaluateSettings, target: Target, inputs: Inputs) -> list[Prompt]:
    """The requests to ask: the run's held-out ones, every row of a file that was named, or data/'s for a bare model."""
    source, limit = asked.prompts.source, asked.prompts.eval_samples
    if path := bare_requests(asked):
        requests = read_requests(path)
    elif source == "dynamic" or (source is None and target.run):
        requests = list(inputs.source.evaluation())
    elif source is None:
        requests = read_requests(EVALUATION_PROMPTS)
    else:
        settings = replace(inputs.settings, prompts=replace(inputs.settings.prompts, eval_samples=0, selection_samples=0))
        requests = list(build_source(settings, inputs.pack).requests())
    if not requests:
        raise ValueError("no request is held out in that run (prompts.eval_samples=0); name some: prompts=jsonl prompts.path=FILE")
    return requests[:limit] if limit else requests


def answer_request(asked: EvaluateSettings, target: Target, inputs: Inputs, run: Run | None) -> dict:
    """Print the target's answers to one request; write samples.jsonl where a directory was named. Returns no summary: {}."""
    prompt = Prompt(request=asked.request, style=inputs.pack.untagged, tag=None)
    tags = (*inputs.pack.tags, None) if asked.tags is None else asked.tags
    exams = exams_of(inputs, [prompt], tags=tags, misspelt=0)
    model = load("after", target, inputs, say)
    found = {name: inputs.judged(student_answers(model, inputs, exam)) for name, exam in exams.items()}
    for name, answers in found.items():
        for answer in answers:
            tag = f"<style:{answer.style}>" if answer.style else "(no tag)"
            print(f"{tag}{' sampled' if name == 'sampled' else ''} [{answer.verdict}]\n{answer.text}\n")
    if run is not None:
        run.directory.mkdir(parents=True, exist_ok=True)
        run.write_samples(sample_rows({"after": found["greedy"]}))
    return {}


def exams_of(inputs: Inputs, requests: list[Prompt], **others) -> dict[str, Exam]:
    """The requests to be answered greedily, and with evaluation.sampled by drawing, too; `others` are fields of Exam."""
    exams = {"greedy": inputs.exam(requests, **others)}
    if inputs.settings.evaluation.sampled:
        exams["sampled"] = replace(exams["greedy"], sampling=build_options(inputs.settings).sampling)
    return exams


def score_target(asked: EvaluateSettings, target: Target, inputs: Inputs, run: Run, argv: Sequence[str]) -> dict:
    """Ask all models, print and write the results. Returns the summary."""
    started, clock, settings = now(), time.monotonic(), inputs.settings
    exams = exams_of(inputs, requests_of(asked, target, inputs))
    with Progress() as progress:
        found, details = answers_of_all(exams, target, inputs, progress, has_teacher=bool(target.run or asked.teacher))
    toggle = Toggle.from_pack(inputs.pack)
    details["likelihood"] = {model: likelihood_summary(answers, toggle) for model, answers in found["greedy"].items()}
    run.state = redact(provenance(argv)) | {"target": asked.target, "started": started, "seed": settings.seed}
    run.state["template_date"] = str(inputs.chat.today)
    run.directory.mkdir(parents=True, exist_ok=True)
    with recorded(run, write_report):
        write_config(run.directory, settings.to_dict())
        summary = write_results(run, inputs, found["greedy"], found.get("sampled"), details=details)
        run.state["seconds"] = time.monotonic() - clock
    print_summary(summary, sample_rows(found["greedy"]))
    print(f"\n{last_lines(run.directory)}")
    return summary


def answers_of_all(
    exams: dict[str, Exam], target: Target, inputs: Inputs, progress: Progress, has_teacher: bool
) -> tuple[dict[str, Samples], dict[str, Any]]:
    """Judged answers by exam and model, and what the details of the summary get besides.

    Each model is loaded once, and the teacher says how likely it finds every answer.
    """
    found: dict[str, Samples] = {name: {} for name in exams}
    retention, readers, details = Retention(inputs) if inputs.settings.evaluation.retention else None, [], {}
    teacher = load_teacher(inputs, progress.say) if has_teacher else None
    for role in ("before", "after") if target.run else ("after",):
        model = load(role, target, inputs, progress.say)
        readers += [Reader(model)] if retention else []
        for name, exam in exams.items():
            answers = student_answers(model, inputs, exam, functools.partial(progress.phase, role))
            found[name][role] = judged(answers, exam, inputs, teacher)
    for name, exam in exams.items() if teacher else ():
        answers = exam.teacher(teacher, functools.partial(progress.phase, "teacher"))
        found[name]["teacher"] = judged(answers, exam, inputs, teacher)
    if retention:
        retention.ask_teacher(teacher)
        teacher.free()
        details["retention"] = retention.compare(*readers, found["greedy"]["before"], exams["greedy"])
    return found, details


def load_teacher(inputs: Inputs, say: Say) -> Teacher:
    """The teacher, whose reading is checked."""
    teacher = build_teacher(inputs.settings, inputs)
    check_readings(inputs, say, teacher=teacher)
    return teacher


def load(role: str, target: Target, inputs: Inputs, say: Say) -> Backbone:
    """The student as it started ("before") or as the target holds it ("after"), for reading only, with adapters added to its weights,
    on the device of the settings, whose reading is checked."""
    model, device, how = inputs.settings.model, device_of(inputs.settings.hardware.device), {}
    start = model.student, tuple(filter(None, [model.student_adapter]))
    path, adapters = (target.model, target.adapters) if role == "after" else start
    if path == model.student and model.student_quantization != "none":  # the run's adapter was trained on what quantising leaves
        first = len([name for name in adapters[:1] if name == model.student_adapter])
        adapters, how = adapters[:first], {"quantization": model.student_quantization, "later": adapters[first:]}
    revision = model.student_revision if path == model.student else None
    student = Backbone(load_model(path, DTYPES[model.dtype], revision, model, adapters, device, **how).eval())
    check_readings(inputs, say, student=student)
    return student


def student_answers(student: Backbone, inputs: Inputs, exam: Exam, begin=None) -> list[Answer]:
    return exam.student(student, OutputIds.of(inputs.chat.student_tokenizer, student.model), begin)


def judged(answers: list[Answer], exam: Exam, inputs: Inputs, teacher: Teacher | None) -> list[Judged]:
    """The answers with their verdicts, and with a teacher its likelihood ratios."""
    if teacher is not None:
        ratios = likelihood_ratios(teacher, inputs, exam.requests, answers)
        answers = [replace(answer, likelihood_ratio=ratio) for answer, ratio in zip(answers, ratios, strict=True)]
    return inputs.judged(answers)


def likelihood_ratios(teacher: Teacher, inputs: Inputs, requests: Sequence[Prompt], answers: list[Answer]) -> list[float | None]:
    """For each answer log p_T(answer | first tag) - log p_T(answer | neutral tag), nats per token, teacher's system prompt in view. None
    where the two tags have two teachers, which differ in more than what they read."""
    tags = inputs.pack.tags[0], inputs.pack.neutral
    teacher, other = map(teacher.of, tags)
    if other is not teacher:
        return [None] * len(answers)
    contexts = [[inputs.chat.teacher_ids(prompt.under(tag, tag)) for prompt in requests] for tag in tags]
    ids = [tuple(teacher.tokenizer(answer.text, add_special_tokens=False)["input_ids"]) if answer.text else () for answer in answers]
    logprobs = [
        teacher.logprobs([Scored(context[answer.id], row) for answer, row in zip(answers, ids, strict=True)]) for context in contexts
    ]
    return [likelihood_ratio(first, neutral) for first, neutral in zip(*logprobs, strict=True)]
