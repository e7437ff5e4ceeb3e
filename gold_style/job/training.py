"""One run from settings to summary: what train.py does once the settings are typed.

    value = run_job(Settings.from_config(cfg), sys.argv)

Order: the student before training and the teacher with its system prompt answer the held-out requests; the student is trained; it
answers the same requests again; summary.json, samples.jsonl, student/ and report.html are written.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from signal import SIGTERM

import torch

from gold_style.config.launch import is_main_process
from gold_style.config.settings import Settings
from gold_style.distil.callbacks import Bar, LiveEvaluation, StopOnSignal, WarmStart
from gold_style.distil.collapse import CollapseGuard
from gold_style.distil.openings import Opening
from gold_style.distil.pruning import Pruning
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.engine.exam import Exam
from gold_style.engine.remembered import remembered_answers, surroundings, weights_digest
from gold_style.engine.rollout import GREEDY, Sampling
from gold_style.job.build import build_trainer
from gold_style.job.card import write_card
from gold_style.job.inputs import Parts, check_device
from gold_style.job.plan import print_plan
from gold_style.job.teacher_check import check_margin, openings, tell_openings, try_teacher
from gold_style.measure.answers import Judged, judge
from gold_style.measure.cheats import cheats
from gold_style.measure.rates import Toggle, score
from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.runs.checkpoints import checkpoint_fault
from gold_style.runs.files import read_json_lines
from gold_style.runs.progress import Progress
from gold_style.runs.provenance import device_name
from gold_style.runs.redact import say
from gold_style.runs.repetition import first_difference
from gold_style.runs.run import Run, open_run
from gold_style.runs.signals import Interrupted, StopRequest, listen
from gold_style.runs.summary_number import summary_number
from gold_style.show.report import write_report
from gold_style.show.summary_table import print_summary


def run_job(settings: Settings, argv: Sequence[str]) -> float:
    """Run what `settings` ask for, or only show it (dry_run). Returns the objective: a number of summary.json, NaN for null.

    The last line on stdout names the run directory, also after an interruption or a failure.
    Raises ValueError for the user's mistakes, before a directory is made where it can be told before.
    """
    parts = Parts.load(settings)
    if settings.dry_run:
        print_plan(settings, parts)
        with Progress() as progress:
            try_teacher(settings, parts, progress)
        return math.nan
    check_device(settings.hardware.device)
    directory = None
    try:
        with open_run(settings, argv, data=getattr(parts.source, "fingerprint", None)) as run:
            directory = run.directory
            for note in parts.set_aside(run):
                say(note)
            with listen(settings.grace_s, run.interrupted_at_once) as stop, Progress(run.is_main) as progress:
                summary = distil(settings, parts, run, progress, stop)
            if run.is_main:
                print_summary(summary, list(read_json_lines(run.directory / "samples.jsonl")))
                tell_repetition(settings, run)
    finally:
        if directory is not None and is_main_process():
            print(f"run directory: {directory}", flush=True)
    return summary_number(summary, settings.objective)


def tell_repetition(settings: Settings, run: Run) -> None:
    """With reproduce=..., whether this run is that one, bit for bit; what differs around it was said as it started."""
    if settings.reproduce:
        found = first_difference(Path(settings.reproduce), run.directory)
        run.update(repeated=found is None)
        say(f"not the same bits as {settings.reproduce}: {found}" if found else f"the same bits as {settings.reproduce}")


def distil(settings: Settings, parts: Parts, run: Run, progress: Progress, stop: StopRequest) -> dict:
    """Train and measure; returns the content of summary.json, which has been written.

    Raises ValueError when the teacher's margin is below evaluation.require_teacher_margin, Interrupted (from `stop`) after a
    signal, NonFinite for a loss, gradient or weight that is not a number, Collapsed with on_collapse=stop.
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
        measure=lambda trainer: least_opening(openings_of(parts, trainer), trainer.accelerator), until=settings.loss.warm_start_until
    )
    run.update(device=device_name(settings.hardware.device))
    stopper = StopOnSignal(lambda: stop.requested is not None)
    guard = CollapseGuard(on_collapse=settings.on_collapse, say=progress.say, record=run.update)
    callbacks = [live, warm_start, Bar(progress, live), stopper, guard]
    if settings.sweep.search.trial is not None:
        callbacks.append(Pruning(live, Path(settings.output_dir).parent, settings.sweep.search))
    trainer = build_trainer(settings, parts, run, callbacks)
    live.trainer = warm_start.trainer = trainer
    examiner = Examiner(settings, parts, trainer, progress)
    before = examiner.before()
    teacher = examiner.teacher()
    check_margin(settings, parts, teacher, progress.say)
    num_processes = trainer.accelerator.num_processes
    tell_openings(settings, parts, openings_of(parts, trainer), trainer.args.max_steps, progress.say, num_processes)
    trainer.train(resume_from_checkpoint=str(run.resumed_from) if run.resumed_from else None)
    train_seconds = trainer.totals.train_seconds
    run.update(train_seconds=train_seconds)
    if stopper.has_stopped:
        raise Interrupted(stop.requested or SIGTERM)  # in every process, whichever got the signal
    run.update(student=keep(settings, trainer, live))
    after = examiner.student("student after")
    trainer.student_copy.save(run.student)
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
    if evaluation.sampled:
        summary["details"]["sampled"] = examiner.sampled()
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

    def before(self) -> list[Judged] | None:
        """The student as it comes; jobs of a sweep that start from the same weights ask it once (settings.cache)."""
        trainer = self.trainer
        if not self.requests or trainer.accelerator.num_processes > 1 or not hasattr(trainer.teacher, "disk"):
            return self.student("student before")
        exam = self._exam("student before", GREEDY)
        output_ids, model = trainer.row_maker.output_ids, trainer.accelerator.unwrap_model(trainer.model)
        asked = [[self.parts.chat.student_ids(prompt), prompt.request, prompt.topic, prompt.tag] for prompt in exam.prompts]
        key = [
            surroundings(model.device),
            weights_digest(model),
            str(trainer.options.compute_dtype),
            self.settings.model.attn_implementation,
        ]
        key += [output_ids.stop_ids, output_ids.vocab_size, exam.max_completion_length, exam.batch_size, asked]
        with trainer.rollout_model() as student:
            write = functools.partial(exam.student, student, output_ids)
            answers = remembered_answers(trainer.teacher.disk, key, write)
        return judge(answers, self.parts.classifier, self.parts.pack)

    def student(self, phase: str, sampling: Sampling = GREEDY) -> list[Judged] | None:
        if not self.requests:
            return None
        exam = self._exam(phase, sampling)
        with self.trainer.rollout_model() as student:
            answers = exam.student(student, self.trainer.row_maker.output_ids)
        return judge(answers, self.parts.classifier, self.parts.pack)

    def teacher(self, phase: str = "teacher", sampling: Sampling = GREEDY) -> list[Judged] | None:
        if not self.requests:
            return None
        answers = self._exam(phase, sampling).teacher(self.trainer.teacher)
        return judge(answers, self.parts.classifier, self.parts.pack)

    def sampled(self) -> dict[str, dict]:
        """S of the answers drawn at the run's temperature, of the student as it is now and of the teacher."""
        drawn = {
            "after": self.student("student after, sampled", self.trainer.options.sampling),
            "teacher": self.teacher("teacher, sampled", self.trainer.options.sampling),
        }
        toggle = Toggle.from_pack(self.parts.pack)
        return {model: score(answers, toggle) for model, answers in drawn.items() if answers}

    def _exam(self, phase: str, sampling: Sampling) -> Exam:
        exam = make_exam(self.settings, self.parts, self.requests, self.trainer.accelerator, sampling)
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
        answers = exam.student(student, trainer.row_maker.output_ids)
    scores = score(judge(answers, parts.classifier, parts.pack), Toggle.from_pack(parts.pack))
    names = ("chosun_rate", "leakage", "margin", "content", "degenerate", "ambiguous")
    numbers = {f"style/{name}": scores[name] for name in names}
    for tag, rates in scores["rates"].items():
        numbers |= {f"style/{tag}/{verdict}": rate for verdict, rate in rates.items()}
    return numbers


def least_opening(found: list[Opening], accelerator) -> float:
    """The smallest P(style opening) of any style on any process, so that all of them end the warm start together; NaN where one is."""
    own = torch.tensor([opening.student for opening in found], device=accelerator.device)
    return float(accelerator.gather(own).min())


def openings_of(parts: Parts, trainer: StyleGOLDTrainer) -> list[Opening]:
    """P(style opening) of the student as it is now and of the teacher."""
    with trainer.rollout_model() as student:
        return openings(trainer.row_maker, student, parts)


def keep(settings: Settings, trainer: StyleGOLDTrainer, live: LiveEvaluation) -> dict:
    """Which weights become student/: the last step's, or the best checkpoint's, which is loaded.

    Raises ValueError where that checkpoint is no longer what was written.
    """
    last = trainer.state.global_step
    if settings.evaluation.keep == "last" or live.best_step in (None, last):
        return {"keep": settings.evaluation.keep, "step": last}
    best = live.best_checkpoint(trainer.args)
    if fault := checkpoint_fault(best):
        raise ValueError(f"evaluation.keep=best: {best} cannot be taken: {fault}; evaluation.keep=last takes the last step's weights")
    trainer.load_weights(best)
    return {"keep": "best", "step": live.best_step, "selection_margin": live.best_margin}


def table_rows(rows: list[dict]) -> list[list]:
    return [[row["request"], row["style"], row["before"], row["after"], row["teacher"]] for row in rows]
