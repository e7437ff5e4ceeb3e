"""Can this teacher teach? Asked before training, and by `dry_run=true` alone.

A teacher that does not toggle behind its own system prompt, or a student that never writes a style's opening by itself, wastes the
whole run without a word. So the teacher answers held-out requests under every tag first, and P(style opening) of both models is told.
"""

import math
from collections.abc import Callable, Sequence

from accelerate import PartialState

from gold_style.config.settings import Settings
from gold_style.distil.openings import Opening, cold_start_warning, measure_openings
from gold_style.distil.rows import RowMaker
from gold_style.engine.backbone import Backbone
from gold_style.engine.exam import Exam
from gold_style.job.build import build_row_maker, load_student
from gold_style.job.inputs import Parts
from gold_style.measure.answers import Judged, judge
from gold_style.measure.rates import Toggle, score
from gold_style.prompts import Prompt
from gold_style.runs.progress import Progress

LOW_MARGIN = 0.5  # a teacher below it hardly toggles: warn
DRY_REQUESTS = 64  # requests that a dry run asks, each under every tag

Say = Callable[[str], None]


def try_teacher(settings: Settings, parts: Parts, progress: Progress) -> None:
    """Loads both models and checks them without a run: what `dry_run=true` does behind its plan.

    Raises ValueError when a model cannot be had, and as `check_margin`.
    """
    student = load_student(settings)
    row_maker = build_row_maker(settings, parts, student)
    device = PartialState(cpu=settings.hardware.device == "cpu").device
    row_maker.teacher.model.to(device)
    student.to(device, row_maker.options.compute_dtype).eval()
    requests = parts.source.evaluation()[:DRY_REQUESTS]
    if requests:
        exam = Exam(
            requests=requests,
            chat=parts.chat,
            pack=parts.pack,
            max_completion_length=settings.evaluation.max_completion_length or settings.train["max_completion_length"],
            seed=settings.seed,
            batch_size=settings.evaluation.batch_size,
        )
        exam.tick = progress.phase("teacher", len(exam.prompts))
        answers = judge(exam.teacher(row_maker.teacher), parts.classifier, parts.pack)
        check_margin(settings, parts, answers, progress.say)
    tell_openings(settings, parts, openings(row_maker, Backbone(student), parts), settings.train["max_steps"], progress.say)


def check_margin(settings: Settings, parts: Parts, answers: Sequence[Judged] | None, say: Say) -> None:
    """Tell what the teacher's answers show, and warn where that is hardly a toggle.

    Raises ValueError when the margin is below evaluation.require_teacher_margin.
    """
    if not answers:
        return
    scores, required = score(answers, Toggle.from_pack(parts.pack)), settings.evaluation.require_teacher_margin
    margin = scores["margin"]
    what = "change its rules (styles, prompts.teacher_system_prompt, styles.few_shots) or take another teacher"
    if required is not None and (margin is None or margin < required):
        raise ValueError(
            f"evaluation.require_teacher_margin={required}: the teacher's margin on the held-out requests is {_two(margin)}; {what}"
        )
    say(
        f"teacher with its system prompt, {scores['prompts']} requests a tag: rate {_two(scores['chosun_rate'])}, "
        f"leakage {_two(scores['leakage'])}, margin {_two(margin)}, content {_two(scores['content'])}"
    )
    if margin is None or margin < LOW_MARGIN:
        say(f"warning: the teacher itself hardly toggles, and the student cannot learn what it does not show: {what}")


def _two(value: float | None) -> str:
    return "null" if value is None else f"{value:.2f}"


def openings(row_maker: RowMaker, student: Backbone, parts: Parts) -> list[Opening]:
    """P(style opening) of both models as they are now, on requests that are not trained on where there are any."""
    requests: Sequence[Prompt] = parts.source.selection() or parts.source.evaluation() or [parts.source[i] for i in range(16)]
    return measure_openings(row_maker, student, requests, parts.pack.tags)


def tell_openings(settings: Settings, parts: Parts, found: Sequence[Opening], max_steps: int, say: Say, num_processes: int = 1) -> None:
    """Print P(style opening | tag), and warn where on-policy learning could hardly start. `max_steps` <= 0: not known."""
    steps = max(0, max_steps - settings.loss.warm_start_steps)
    per_step = settings.train["per_device_train_batch_size"] * settings.train["gradient_accumulation_steps"] * num_processes
    share = {style: 0.0 for style in parts.pack.tags}
    for number in range(256):
        share[parts.source[number].style] += 1 / 256
    for opening in found:
        say(
            f"P(style opening | <style:{opening.style}>): student {opening.student:.2e}, teacher {opening.teacher:.2e}, "
            f"inside the student's nucleus {opening.student_in_nucleus:.0%}"
        )
        rows = steps * per_step * settings.loss.lmbda * share[opening.style] if max_steps > 0 else math.inf
        warning = cold_start_warning(opening, rows)
        if warning and settings.loss.lmbda == 1 and settings.loss.warm_start_until is None:
            say(f"warning: {warning}")
