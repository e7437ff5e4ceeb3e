"""One run from settings to summary: what the lines of train.py do.

with open_job(settings, sys.argv) as job:
    before, teacher = job.ask_student("before"), job.ask_teacher()
    job.train()
    summary = job.write_up(before, job.ask_student("after"), teacher)
"""

import contextlib
import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from signal import SIGTERM
from typing import Any

import torch

from gold_style.config.launch import is_main_process
from gold_style.config.own_teacher import is_held_once, teacher_of_each_tag
from gold_style.config.settings import Settings
from gold_style.distil.callbacks import Bar, LiveEvaluation, StopOnSignal, WarmStart
from gold_style.distil.collapse import CollapseGuard
from gold_style.distil.openings import Opening
from gold_style.distil.pruning import Pruning
from gold_style.distil.trainer import StyleGOLDTrainer
from gold_style.engine.backbone import Backbone
from gold_style.engine.disk_cache import DiskCache
from gold_style.engine.exam import Begin, Exam
from gold_style.engine.out_of_memory import LESS_TO_TRAIN, memory_advice
from gold_style.engine.reader import Reader
from gold_style.engine.remembered import remembered_answers, surroundings, weights_digest
from gold_style.engine.teacher import TeacherReader
from gold_style.job.build import build_trainer, load_student
from gold_style.job.card import card_text
from gold_style.job.inputs import Inputs
from gold_style.job.obstacles import spread_mistakes
from gold_style.job.optimizer import optimizer_mistakes
from gold_style.job.readings import readings
from gold_style.job.results import write_results
from gold_style.job.retention import Retention
from gold_style.job.teacher_check import check_margin, check_openings, check_readings, check_tags, openings
from gold_style.measure.answers import Answer, Judged
from gold_style.measure.rates import Toggle, score
from gold_style.runs.checkpoints import checkpoint_fault
from gold_style.runs.files import read_json, read_json_lines, write_text
from gold_style.runs.progress import Progress
from gold_style.runs.provenance import differences
from gold_style.runs.redact import say
from gold_style.runs.repetition import first_difference
from gold_style.runs.run import Run, open_run
from gold_style.runs.run_directory import STATE
from gold_style.runs.signals import Interrupted, StopRequest, listen
from gold_style.show.ending import last_lines
from gold_style.show.report import write_report
from gold_style.show.summary_table import print_summary

UNRECORDED = "nothing: the files of a model may have changed, or an operation here is not deterministic"
LIVE = ("chosun_rate", "leakage", "untagged", "margin", "content", "degenerate", "ambiguous")  # numbers of S that a live evaluation logs


@contextlib.contextmanager
def open_job(settings: Settings, argv: Sequence[str]) -> Iterator["Job"]:
    """A run directory with its tracker, signals and bars, and a trainer with both models loaded. Prints the results at the end.

    The last line on stdout names the run directory, also after an interruption or a failure. Exit code 1 where a repeated run
    has other bits than its original. Raises ValueError for the user's mistakes, before a directory is made where that can be known.
    """
    inputs = Inputs.load(settings)
    if mistakes := [*optimizer_mistakes(settings, inputs.num_steps), *spread_mistakes(settings.hardware)]:
        raise ValueError("\n".join(mistakes))
    directory = difference = None
    try:
        with open_run(settings, argv, data=getattr(inputs.source, "fingerprint", None), draw=write_report) as run:
            directory = run.directory
            inputs.chat = replace(inputs.chat, today=date.fromisoformat(run.template_date))
            for note in inputs.set_aside(run):
                say(note)
            guard = memory_advice("while models were loaded, asked or saved", f"evaluation.batch_size, or {LESS_TO_TRAIN}")
            with listen(settings.grace_s, run.interrupted_at_once) as stop, Progress(run.is_main) as progress, guard:
                yield Job(inputs, run, progress, stop)
            if run.is_main:
                print_summary(run.summary, list(read_json_lines(directory / "samples.jsonl")))
                difference = compare_with_original(settings, run)
        if run.is_main:
            print(f"\n{last_lines(directory)}")
    finally:
        if directory is not None and is_main_process():
            print(f"run directory: {directory}", flush=True)
    if difference:
        sys.exit(difference)


def compare_with_original(settings: Settings, run: Run) -> str | None:
    """With reproduce=..., whether this run is that one, bit for bit. Returns what is to be said where it is not, causes included."""
    if not settings.reproduce:
        return None
    original = Path(settings.reproduce)
    found = first_difference(original, run.directory)
    run.update(repeated=found is None)
    if found is None:
        say(f"the same bits as {original}")
        return None
    known = differences(read_json(original / STATE) or {}, run.state["device"], run.state)
    return "\n  ".join([f"not the same bits as {original}: {found}\nwhat run.json records differently:", *(known or [UNRECORDED])])


class Job:
    """A run at work: its trainer, and the held-out requests that student and teacher are asked."""

    def __init__(self, inputs: Inputs, run: Run, progress: Progress, stop: StopRequest):
        self.inputs, self.run, self.progress, self.stop = inputs, run, progress, stop
        self.settings = settings = inputs.settings
        self.live = LiveEvaluation(
            measure=self.live_numbers,
            every_steps=settings.evaluation.every_steps or 0,
            keep_best=settings.evaluation.keep == "best",
            stop_margin=settings.evaluation.early_stop_margin,
            stop_patience=settings.evaluation.early_stop_patience,
        )
        warm_start = WarmStart(
            measure=lambda trainer: least_opening(self.openings(), trainer.accelerator), until=settings.loss.warm_start_until
        )
        self.stopper = StopOnSignal(lambda: stop.requested is not None)
        guard = CollapseGuard(on_collapse=settings.on_collapse, say=progress.say, record=run.update)
        callbacks = [self.live, warm_start, Bar(progress, self.live), self.stopper, guard]
        if settings.sweep.search.trial is not None:
            callbacks.append(Pruning(self.live, Path(settings.output_dir).parent, settings.sweep.search))
        self.trainer = self.live.trainer = warm_start.trainer = build_trainer(settings, inputs, run, callbacks)
        self.exam = self._exam(inputs.source.evaluation())
        self.retention = Retention(inputs) if settings.evaluation.retention else None
        with self.trainer.student_copy.for_rollouts() as student:
            check_readings(inputs, progress.say, student=student, teacher=self.trainer.teacher)

    def _exam(self, requests, **others) -> Exam:
        accelerator = self.trainer.accelerator
        return self.inputs.exam(requests, rank=accelerator.process_index, num_processes=accelerator.num_processes, **others)

    def _bar(self, name: str) -> Begin:
        return functools.partial(self.progress.phase, name)

    def _student_answers(self, exam: Exam, begin: Begin | None = None) -> list[Answer]:
        with self.trainer.student_copy.for_rollouts() as student:
            return exam.student(student, self.trainer.row_maker.output_ids, begin)

    def ask_student(self, when: str) -> list[Judged]:
        """The judged answers of the student as it is now, before or after training; empty where no request is held out.

        Jobs of a sweep that start from the same weights ask before training only once (settings.cache).
        """
        write = functools.partial(self._student_answers, self.exam, self._bar(f"student {when}"))
        disk = getattr(self.trainer.teacher, "disk", None) if when == "before" and self.exam.num_processes == 1 else None
        return self.inputs.judged(remembered_answers(disk, self._answers_depend_on(disk), write) if disk else write())

    def _answers_depend_on(self, disk: DiskCache) -> list:
        """What the student's answers before training depend on."""
        trainer, exam, output_ids = self.trainer, self.exam, self.trainer.row_maker.output_ids
        model = trainer.accelerator.unwrap_model(trainer.model)
        asked = [
            [[number, self.inputs.chat.student_ids(prompt), prompt.request, prompt.topic, prompt.tag] for _, number, prompt in group]
            for group in exam.groups
        ]
        key = [
            surroundings(model.device),
            weights_digest(model, disk),
            str(trainer.options.compute_dtype),
            self.settings.model.attn_implementation,
        ]
        return [*key, output_ids.stop_ids, output_ids.vocab_size, exam.max_completion_length, exam.batch_size, asked]

    def ask_teacher(self) -> list[Judged]:
        """The judged answers of the teacher with its system prompt. Raises ValueError where it toggles less than was required."""
        check_tags(self.inputs, self.trainer.teacher, self.progress.say)
        answers = self.inputs.judged(self.exam.teacher(self.trainer.teacher, self._bar("teacher")))
        check_margin(self.inputs, answers, self.progress.say)
        if self.retention:
            self.retention.ask_teacher(self.trainer.teacher)
        return answers

    def train(self) -> None:
        """Train to the end, from the checkpoint of a resumed run; the student is then the last or the best one.

        Raises Interrupted after a signal, NonFinite for a loss, gradient or weight that is not a number, Collapsed with
        on_collapse=stop.
        """
        trainer, run = self.trainer, self.run
        check_openings(self.inputs, self.openings(), self.progress.say)
        trainer.train(resume_from_checkpoint=str(run.resumed_from) if run.resumed_from else None)
        self.train_seconds = trainer.totals.train_seconds
        run.update(train_seconds=self.train_seconds)
        if self.stopper.has_stopped:
            raise Interrupted(self.stop.requested or SIGTERM)  # in every process, whichever got the signal
        run.update(student=keep(self.settings, trainer, self.live))

    def write_up(self, before: list[Judged], after: list[Judged], teacher: list[Judged]) -> dict[str, Any]:
        """Write student/ with its card, and samples.jsonl. Returns the summary; its file and report.html follow as the run completes."""
        trainer, run = self.trainer, self.run
        trainer.student_copy.save(run.student)
        samples = {"before": before, "after": after, "teacher": teacher}
        sampled = self.ask_sampled() if self.settings.evaluation.sampled else None
        run.write_samples(readings(self.inputs, trainer.teacher, self.exam.requests, after), "readings.jsonl")
        details = {"retention": self.compare_with_start(before)} if self.retention else {}
        totals = {"steps": trainer.state.global_step, "train_seconds": self.train_seconds}
        summary = write_results(run, self.inputs, samples, sampled, **totals, details=details)
        if run.is_main:
            write_text(run.student / "README.md", card_text(run.directory, summary))
            run.save_student_artifact()
        return summary

    def compare_with_start(self, before: list[Judged]) -> dict[str, Any]:
        """What the student has kept of its start, which is the teacher, or is loaded again in the teacher's place."""
        with self.trainer.student_copy.for_rollouts() as student:
            start = TeacherReader(self.trainer.teacher)
            if not is_held_once(teacher_of_each_tag(self.settings)[self.inputs.pack.untagged]):
                self.trainer.teacher.free()
                model = load_student(self.settings, self.trainer.options.compute_dtype).to(student.device).eval()
                start = Reader(Backbone(model, student.reading))
            return self.retention.compare(start, Reader(student), before, self.exam)

    def ask_sampled(self) -> dict[str, list[Judged]]:
        """Answers drawn at the run's temperature, of the student as it is now and of the teacher."""
        exam = replace(self.exam, sampling=self.trainer.options.sampling)
        after = self._student_answers(exam, self._bar("student after, sampled"))
        teacher = exam.teacher(self.trainer.teacher, self._bar("teacher, sampled"))
        return {"after": self.inputs.judged(after), "teacher": self.inputs.judged(teacher)}

    def live_numbers(self, trainer: StyleGOLDTrainer) -> dict[str, float | None]:
        """`style/...` of the selection requests, answered greedily by the student as it is now."""
        requests = self.inputs.source.selection()[: self.settings.evaluation.live_samples]
        if not requests:
            return {}
        answers = self.inputs.judged(self._student_answers(self._exam(requests, misspelt=0)))
        scores = score(answers, Toggle.from_pack(self.inputs.pack))
        numbers = {f"style/{name}": scores[name] for name in LIVE}
        for tag, rates in scores["rates"].items():
            numbers |= {f"style/{tag}/{verdict}": rate for verdict, rate in rates.items()}
        return numbers

    def openings(self) -> list[Opening]:
        """P(style opening) of the student as it is now and of the teacher."""
        with self.trainer.student_copy.for_rollouts() as student:
            return openings(self.trainer.row_maker, student, self.inputs)


def least_opening(found: list[Opening], accelerator) -> float:
    """The smallest P(style opening) of any style on any process, so that all of them end the warm start together; NaN where one is."""
    own = torch.tensor([opening.student for opening in found], device=accelerator.device)
    return float(accelerator.gather(own).min())


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
