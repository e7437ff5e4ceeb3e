"""Can this teacher teach? Asked before training, and by `dry_run=true`.

A teacher that does not toggle with its own system prompt, or a student that never writes a style's opening by itself, wastes the
whole run silently. So the teacher answers held-out requests under every tag first, and P(style opening) of both models is printed.
"""

import functools
from collections.abc import Callable, Sequence

from gold_style.chat import encode
from gold_style.config.losses import reads
from gold_style.config.schedule import at_step
from gold_style.distil.openings import Opening, cold_start_warning, measure_openings
from gold_style.distil.row_maker import RowMaker
from gold_style.engine.agreement import check_reading
from gold_style.engine.backbone import Backbone
from gold_style.engine.teacher import AnyTeacher
from gold_style.job.build import build_row_maker, load_student
from gold_style.job.inputs import Inputs, device_of
from gold_style.job.steps import rows_per_step
from gold_style.measure.answers import Judged
from gold_style.measure.rates import Toggle, score
from gold_style.measure.verdict import TEACHES
from gold_style.prompts import Prompt
from gold_style.runs.progress import Progress
from gold_style.show.tables import number

DRY_REQUESTS = 64  # requests that a dry run asks, each under every tag
OPENING_EXPLAINED = (
    "\n  (P(style opening): how likely a model begins an answer with what the teacher writes there. Near 0 the student hardly shows the"
    " style, and on-policy training has little to strengthen. Nucleus: the tokens that its sampling can draw.)"
)

Say = Callable[[str], None]


def try_teacher(inputs: Inputs, progress: Progress) -> None:
    """Load both models and check them without a run: what `dry_run=true` does after its plan.

    Raises ValueError when a model cannot be had, and as `check_margin`.
    """
    settings = inputs.settings
    student = load_student(settings)
    row_maker = build_row_maker(settings, inputs, student)
    check_tags(inputs, row_maker.teacher, progress.say)
    device = device_of(settings.hardware.device)
    row_maker.teacher.place(lambda module: module.to(device))
    student.to(device, row_maker.options.compute_dtype).eval()
    backbone = Backbone(student)
    check_readings(inputs, progress.say, student=backbone, teacher=row_maker.teacher)
    exam = inputs.exam(inputs.source.evaluation()[:DRY_REQUESTS], tags=inputs.pack.tags, misspelt=0)
    answers = exam.teacher(row_maker.teacher, functools.partial(progress.phase, "teacher"))
    check_margin(inputs, inputs.judged(answers), progress.say)
    check_openings(inputs, openings(row_maker, backbone, inputs), progress.say)


def check_readings(inputs: Inputs, say: Say, *, student: Backbone | None = None, teacher: AnyTeacher | None = None) -> None:
    """Hold our reading of `student` and `teacher` against their own, and say what is read more slowly.

    Raises ValueError for a model that cannot be read.
    """
    prompt = inputs.source[0]
    found = check_reading(student, "student", inputs.chat.student_ids(prompt)) if student else []
    for own, tag in {teacher.of(tag): tag for tag in inputs.pack.tags}.items() if teacher else ():
        ids = inputs.chat.teacher_ids(prompt.under(tag, tag))
        found += own.check(ids.prefix + ids.rest)
    for note in found:
        say(f"note: {note}")


def check_tags(inputs: Inputs, teacher: AnyTeacher, say: Say) -> None:
    """Warn of tags that are one token of the vocabulary, where the embedding of that token may be no more than its first values."""
    for tag in inputs.pack.tags:
        own = teacher.of(tag)
        token = encode(own.tokenizer, f"<style:{tag}>")
        if len(token) == 1:
            is_new = own.is_untrained(token[0])
            found = "was never trained: it is zero or the mean of all" if is_new else "may be untrained, which cannot be known from here"
            remedy = "if its margin is low, take a teacher without that token"
            say(f"warning: the teacher reads <style:{tag}> as one token, and that token's embedding {found}; {remedy}")
        if inputs.settings.model.lora.enabled and len(encode(inputs.chat.student_tokenizer, f"<style:{tag}>")) == 1:
            say(f"warning: the student reads <style:{tag}> as one token, and LoRA does not train that token's embedding")


def check_margin(inputs: Inputs, answers: Sequence[Judged], say: Say) -> None:
    """Print what the teacher's answers show, and warn where that is hardly a toggle.

    Raises ValueError when the margin is below evaluation.require_teacher_margin.
    """
    if not answers:
        return
    scores, required = score(answers, Toggle.from_pack(inputs.pack)), inputs.settings.evaluation.require_teacher_margin
    margin, own = scores["margin"], {tag: rates[inputs.pack.verdict_of(tag)] for tag, rates in scores["rates"].items()}
    remedy = "change its rules (styles, prompts.teacher_system_prompt, styles.few_shots, styles.examples) or take another teacher"
    if required is not None and (margin is None or margin < required):
        raise ValueError(
            f"evaluation.require_teacher_margin={required}: the teacher's margin on the held-out requests is {number(margin)}; {remedy}"
        )
    say(
        f"teacher with its system prompt, {scores['prompts']} requests a tag: rate {number(scores['chosun_rate'])}, "
        f"leakage {number(scores['leakage'])}, margin {number(margin)}, content {number(scores['content'])}; in its own style: "
        + ", ".join(f"<style:{tag}> {number(rate)}" for tag, rate in own.items())
    )
    if margin is None or min(margin, *(rate or 0.0 for rate in own.values())) < TEACHES:
        say(f"warning: the teacher itself hardly toggles, and the student cannot learn what it does not show: {remedy}")


def openings(row_maker: RowMaker, student: Backbone, inputs: Inputs) -> list[Opening]:
    """P(style opening) of both models as they are now, on requests that are not trained on where there are any."""
    requests: Sequence[Prompt] = inputs.source.selection() or inputs.source.evaluation() or [inputs.source[i] for i in range(16)]
    return measure_openings(row_maker, student, requests, inputs.pack.tags)


def check_openings(inputs: Inputs, found: Sequence[Opening], say: Say) -> None:
    """Print P(style opening | tag), and warn where on-policy learning could hardly start."""
    loss = inputs.settings.loss
    shares = (at_step(loss.lmbda, step) for step in range(loss.warm_start_steps, inputs.num_steps))
    on_policy_rows = rows_per_step(inputs.settings) * sum(shares)
    styles = [inputs.source[number].style for number in range(256)]
    for opening in found:
        explained = OPENING_EXPLAINED if opening is found[-1] else ""
        say(
            f"P(style opening | <style:{opening.style}>): student {opening.student:.2e}, teacher {opening.teacher:.2e}, "
            f"inside the student's nucleus {opening.student_in_nucleus:.0%}{explained}"
        )
        reads_beta = reads(loss.kind, "beta")
        warning = cold_start_warning(opening, on_policy_rows * styles.count(opening.style) / len(styles), reads_beta=reads_beta)
        if warning and loss.lmbda == 1 and loss.warm_start_until is None and not (reads_beta and loss.beta == 0):
            say(f"warning: {warning}")
