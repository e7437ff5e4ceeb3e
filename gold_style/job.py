"""One run from settings to summary: what train.py does once the settings are typed.

    value = run_job(Settings.from_config(cfg), sys.argv)

Order: the student before training and the teacher with its system prompt answer the held-out requests; the student is trained; it
answers the same requests again; summary.json, samples.jsonl, student/ and report.html are written.
"""

import math
import time
from collections.abc import Callable, Sequence
from signal import SIGTERM

from gold_style.build import Parts, build_trainer
from gold_style.config.launch import is_main_process
from gold_style.config.settings import Settings
from gold_style.distil.callbacks import Bar, LiveEvaluation, StopOnSignal, WarmStart
from gold_style.distil.openings import Opening, cold_start_warning, measure_openings
from gold_style.distil.rollout import GREEDY, Sampling
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.evaluation import Exam
from gold_style.measure.answers import Judged, judge
from gold_style.measure.cheats import cheats
from gold_style.measure.rates import Toggle, score
from gold_style.measure.samples import read_rows, sample_rows
from gold_style.measure.summary import run_summary
from gold_style.runs.provenance import device_name
from gold_style.runs.redact import say
from gold_style.runs.run import Run, open_run
from gold_style.runs.signals import Interrupted, StopRequest, listen
from gold_style.show.card import write_card
from gold_style.show.plan import print_plan
from gold_style.show.progress import Progress
from gold_style.show.report import write_report
from gold_style.show.tables import print_summary

LOW_TEACHER_MARGIN = 0.5  # a teacher below it hardly toggles: warn


def run_job(settings: Settings, argv: Sequence[str]) -> float:
    """Run what `settings` ask for, or only show it (dry_run). Returns the objective: a number of summary.json, NaN for null.

    The last line on stdout names the run directory, also after an interruption or a failure.
    Raises ValueError for the user's mistakes, before a directory is made where it can be told before.
    """
    parts = Parts.load(settings)
    if settings.dry_run:
        print_plan(settings, parts)
        return math.nan
    directory = None
    try:
        with open_run(settings, argv) as run:
            directory = run.directory
            for note in parts.set_aside(run):
                say(note)
            with listen(settings.grace_s, run.interrupted_at_once) as stop, Progress(run.is_main) as progress:
                summary = distil(settings, parts, run, progress, stop)
            if run.is_main:
                print_summary(summary, read_rows(run.directory / "samples.jsonl"))
    finally:
        if directory is not None and is_main_process():
            print(f"run directory: {directory}", flush=True)
    return value_of(summary, settings.objective)


def value_of(summary: dict, objective: str | None) -> float:
    """The number under a dotted key of summary.json; NaN for null or without an objective."""
    value = summary
    for word in objective.split(".") if objective else ():
        value = value and value.get(word)
    return math.nan if value is None or isinstance(value, dict) else float(value)


def distil(settings: Settings, parts: Parts, run: Run, progress: Progress, stop: StopRequest) -> dict:
    """Train and measure; returns the content of summary.json, which has been written.

    Raises ValueError when the teacher's margin is below evaluation.require_teacher_margin, Interrupted (from `stop`) after a
    signal, NonFinite for a loss or gradient that is not a number.
    """
    evaluation = settings.evaluation
    live = LiveEvaluation(
        measure=lambda trainer: live_numbers(settings, parts, trainer),
        every_steps=evaluation.every_steps or 0,
        keep_best=evaluation.keep == "best",
        stop_margin=evaluation.early_stop_margin,
        stop_patience=evaluation.early_stop_patience,
    )
    warm_start = WarmStart(
        measure=lambda trainer: min(opening.student for opening in openings_of(parts, trainer)), until=settings.loss.warm_start_until
    )
    run.update(device=device_name(settings.hardware.device))
    stopper = StopOnSignal(lambda: stop.requested is not None)
    callbacks = [live, warm_start, Bar(progress, live), stopper]
    trainer = build_trainer(settings, parts, run, callbacks)
    live.trainer = warm_start.trainer = trainer
    examiner = Examiner(settings, parts, trainer, progress)
    before = examiner.student("student before")
    teacher = examiner.teacher()
    check_teacher(settings, parts, teacher, progress.say)
    tell_openings(settings, parts, trainer, progress.say)
    start = time.monotonic()
    trainer.train(resume_from_checkpoint=str(run.resumed_from) if run.resumed_from else None)
    train_seconds = time.monotonic() - start
    run.update(train_seconds=train_seconds)
    if stopper.has_stopped:
        raise Interrupted(stop.requested or SIGTERM)  # in every process, whichever got the signal
    run.update(student=keep(settings, trainer, live))
    after = examiner.student("student after")
    trainer.save_student(run.student)
    samples = {"before": before, "after": after, "teacher": teacher}
    summary = run_summary(
        samples,
        Toggle.from_pack(parts.pack),
        steps=trainer.state.global_step,
        train_seconds=train_seconds,
        status="completed",
        cheats=cheats(after, parts.classifier, parts.pack) if after else None,
        bootstrap_samples=evaluation.bootstrap_samples,
        confidence=evaluation.confidence,
    )
    summary["details"]["backend"] = parts.classifier.backend
    if run.is_main:
        rows = sample_rows(samples)
        run.write_samples(rows)
        run.write_summary(summary)
        run.log_table("samples", ["request", "tag", "before", "after", "teacher"], table_rows(rows))
        write_card(run.student, settings, parts, summary)
        write_report(run.directory)
        run.save_student_artifact()
    return summary


class Examiner:
    """Asks the held-out requests and judges what comes back; nothing where no request is held out."""

    def __init__(self, settings: Settings, parts: Parts, trainer: StyleGOLDTrainer, progress: Progress):
        self.settings, self.parts, self.trainer, self.progress = settings, parts, trainer, progress
        self.requests = parts.source.evaluation()

    def student(self, phase: str) -> list[Judged] | None:
        if not self.requests:
            return None
        exam = self._exam(phase)
        with self.trainer.rollout_model() as student:
            answers = exam.student(student, self.trainer.distillation.student_stop_ids, self.trainer.distillation.student_vocab_size)
        return judge(answers, self.parts.classifier, self.parts.pack)

    def teacher(self) -> list[Judged] | None:
        if not self.requests:
            return None
        answers = self._exam("teacher").teacher(self.trainer.teacher)
        return judge(answers, self.parts.classifier, self.parts.pack)

    def _exam(self, phase: str) -> Exam:
        exam = make_exam(self.settings, self.parts, self.requests, self.trainer.accelerator)
        exam.tick = self.progress.phase(phase, len(exam.prompts))
        return exam


def make_exam(settings: Settings, parts: Parts, requests, accelerator, sampling: Sampling = GREEDY) -> Exam:
    evaluation = settings.evaluation
    return Exam(
        requests=requests,
        chat=parts.chat,
        pack=parts.pack,
        max_completion_length=evaluation.max_completion_length or settings.train["max_completion_length"],
        sampling=sampling,
        seed=settings.seed,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        batch_size=evaluation.batch_size,
    )


def live_numbers(settings: Settings, parts: Parts, trainer: StyleGOLDTrainer) -> dict[str, float | None]:
    """`style/...` of the selection requests, answered greedily by the student as it is now."""
    requests = parts.source.selection()[: settings.evaluation.live_samples]
    if not requests:
        return {}
    exam = make_exam(settings, parts, requests, trainer.accelerator)
    with trainer.rollout_model() as student:
        answers = exam.student(student, trainer.distillation.student_stop_ids, trainer.distillation.student_vocab_size)
    scores = score(judge(answers, parts.classifier, parts.pack), Toggle.from_pack(parts.pack))
    names = ("chosun_rate", "leakage", "margin", "content", "degenerate", "ambiguous")
    numbers = {f"style/{name}": scores[name] for name in names}
    for tag, rates in scores["rates"].items():
        numbers |= {f"style/{tag}/{verdict}": rate for verdict, rate in rates.items()}
    return numbers


def check_teacher(settings: Settings, parts: Parts, answers: list[Judged] | None, say: Callable[[str], None]) -> None:
    """A teacher that cannot toggle wastes the whole run: say so, or refuse where a margin is required."""
    required = settings.evaluation.require_teacher_margin
    if answers is None:
        return
    scores = score(answers, Toggle.from_pack(parts.pack))
    margin = scores["margin"]
    if required is not None and (margin is None or margin < required):
        raise ValueError(
            f"evaluation.require_teacher_margin={required}: the teacher's margin on the held-out requests is {margin}; "
            "change its rules (styles, prompts.teacher_system_prompt, styles.few_shots) or take another teacher"
        )
    if margin is None or margin < LOW_TEACHER_MARGIN:
        say(
            f"warning: the teacher itself hardly toggles (rate {scores['chosun_rate']}, leakage {scores['leakage']}, margin {margin}): the "
            "student cannot learn what it does not show. Change its rules (styles, prompts.teacher_system_prompt, styles.few_shots)"
        )


def tell_openings(settings: Settings, parts: Parts, trainer: StyleGOLDTrainer, say: Callable[[str], None]) -> None:
    """Print P(style opening | tag), and warn where on-policy learning could hardly start."""
    openings = openings_of(parts, trainer)
    steps = max(0, trainer.args.max_steps - settings.loss.warm_start_steps)
    rows = steps * trainer.distillation.rows_per_window * trainer.accelerator.num_processes * settings.loss.lmbda
    share = {style: 0.0 for style in parts.pack.tags}
    for number in range(256):
        share[parts.source[number].style] += 1 / 256
    for opening in openings:
        say(
            f"P(style opening | <style:{opening.style}>): student {opening.student:.2e}, teacher {opening.teacher:.2e}, "
            f"inside the student's nucleus {opening.student_in_nucleus:.0%}"
        )
        warning = cold_start_warning(opening, rows * share[opening.style])
        if warning and settings.loss.lmbda == 1:
            say(f"warning: {warning}")


def openings_of(parts: Parts, trainer: StyleGOLDTrainer) -> list[Opening]:
    """P(style opening) of both models as they are now, on requests that are not trained on where there are any."""
    requests = parts.source.selection() or parts.source.evaluation() or [parts.source[i] for i in range(16)]
    with trainer.rollout_model() as student:
        return measure_openings(trainer.distillation, student, requests, parts.pack.tags)


def keep(settings: Settings, trainer: StyleGOLDTrainer, live: LiveEvaluation) -> dict:
    """Which weights become student/: the last step's, or the best checkpoint's, which is loaded."""
    last = trainer.state.global_step
    if settings.evaluation.keep == "last" or live.best_step in (None, last):
        return {"keep": settings.evaluation.keep, "step": last}
    trainer.load_weights(live.best_checkpoint(trainer.args))
    return {"keep": "best", "step": live.best_step, "selection_margin": live.best_margin}


def table_rows(rows: list[dict]) -> list[list]:
    return [[row["request"], row["style"], row["before"], row["after"], row["teacher"]] for row in rows]
