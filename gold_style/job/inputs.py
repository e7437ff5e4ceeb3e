"""settings -> everything that is read before any weights: style pack, tokenizers, prompts, and whether they fit together.

inputs = Inputs.load(settings)         # raises ValueError for whatever can be refused without a model
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import torch
from accelerate import PartialState

from gold_style.chat import Chat, encode, fix_arguments
from gold_style.config.losses import LOSSES
from gold_style.config.own_teacher import is_own_teacher, teacher_key, teacher_of_each_tag, teacher_weights
from gold_style.config.schedule import lowest, shortened
from gold_style.config.settings import Settings
from gold_style.engine.exam import Exam
from gold_style.engine.models import Limits, load_tokenizer, num_parameters, special_tokens
from gold_style.job.steps import num_steps, too_few_rows
from gold_style.measure.answers import Answer, Judged, judge
from gold_style.prompts import Prompt, PromptSource, build_source
from gold_style.runs.completions import Completions
from gold_style.styles import StylePack
from gold_style.tokens.identical import identical_tokenizers
from gold_style.verdicts import Classifier, classifier_of

MAX_CHECKED_ROWS = 50_000  # prompts whose length is checked before training; later rows are checked when their turn comes
MAX_REPORTED_ROWS = 20


@dataclass(kw_only=True)
class Inputs:
    """What a run reads before any weights: also all that a dry run needs."""

    settings: Settings
    pack: StylePack
    classifier: Classifier
    source: PromptSource
    chat: Chat
    is_exact: dict[str, bool]  # by style: whether its teacher has the student's tokenizer
    student_limits: Limits
    teacher_limits: dict[str, Limits]  # by style
    template_notes: list[str]  # what the chat templates were given

    @classmethod
    def load(cls, settings: Settings, template_date: str | None = None) -> "Inputs":
        """Raises ValueError for everything that speaks against the run: names, rows, lengths, combinations. As `read`."""
        inputs = cls.read(settings, template_date)
        if mistakes := inputs.mistakes():
            raise ValueError("\n".join(mistakes))
        return inputs

    @classmethod
    def read(cls, settings: Settings, template_date: str | None = None) -> "Inputs":
        """Everything, whether it fits together or not. Raises ValueError for what cannot be read.

        `template_date` (ISO; None: today) is for chat templates that ask for the date.
        """
        model = settings.model
        pack = StylePack.from_settings(settings.styles)
        student = load_tokenizer(model.student, model.student_revision, model.trust_remote_code)
        places = {tag: (own.teacher, own.teacher_revision, own.trust_remote_code) for tag, own in teacher_of_each_tag(settings).items()}
        loaded = {place: load_tokenizer(*place) for place in places.values()}
        same = {place: identical_tokenizers(student, tokenizer) for place, tokenizer in loaded.items()}
        limits = {place: Limits.of(*place, tokenizer) for place, tokenizer in loaded.items()}
        teachers = {tag: loaded[place] for tag, place in places.items()}
        notes = [
            f"the {side}'s chat template reads {name}={value}; {key}={{}} leaves it out"
            for side, tokenizer in (("student", student), *(("teacher", teacher) for teacher in loaded.values()))
            for key in (f"model.{side}_template_kwargs",)
            for name, value in fix_arguments(tokenizer, getattr(model, f"{side}_template_kwargs"), key).items()
        ]
        today = date.fromisoformat(template_date) if template_date else date.today()
        own = settings.prompts
        systems = own.student_system_prompt, own.teacher_system_prompt, today, own.teacher_context
        chat = Chat(student, teachers[pack.untagged], pack, *systems, teachers if len(loaded) > 1 else {})
        for asked, tag in ((chat.student_ids, pack.tags[0]), *((chat.teacher_ids, tag) for tag in pack.tags)):
            asked(Prompt(request="zqz", style=tag, tag=tag))  # what holds for every row is said once
        return cls(
            settings=settings,
            pack=pack,
            classifier=classifier_of(pack),
            source=build_source(settings, pack, None, control_tokens(chat)),
            chat=chat,
            is_exact={tag: same[place] for tag, place in places.items()},
            student_limits=Limits.of(model.student, model.student_revision, model.trust_remote_code, student),
            teacher_limits={tag: limits[place] for tag, place in places.items()},
            template_notes=notes,
        )

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the run; raises ValueError as gold_style.job.steps.num_steps."""
        return num_steps(self.settings, self.source.num_rows)

    def set_aside(self, run) -> list[str]:
        """What the user should know about the source; with on_bad_row=quarantine the bad rows are written beside the run first."""
        if self.settings.prompts.on_bad_row == "quarantine":
            self.source = build_source(self.settings, self.pack, run.directory, control_tokens(self.chat))
        return self.notes if run.is_main else []

    @property
    def notes(self) -> list[str]:
        """What the user should know about rows, chat templates and one model's weights on both sides."""
        model, found = self.settings.model, [*self.source.notes, *self.chat.notes, *self.template_notes]
        own = next(filter(is_own_teacher, teacher_of_each_tag(self.settings).values()), None)
        if own and self.settings.teacher_backend.kind == "local":
            found.append(teacher_weights(own, num_parameters(model.student, model.student_revision, model.trust_remote_code)))
        teachers = ((limits, model.teacher_dtype or model.dtype) for limits in self.teacher_limits.values())
        sides = (self.student_limits, model.dtype), *teachers
        if names := dict.fromkeys(limits.name for limits, dtype in sides if (dtype, limits.dtype) == ("float16", torch.bfloat16)):
            remedy = "if a logit, loss or gradient is no number, take bfloat16 (a T4 has none) or float32"
            found.append(f"float16 ends at 65,504, and the bfloat16 weights of {' and '.join(names)} may compute more than that: {remedy}")
        return found

    def exam(self, requests: Sequence[Prompt], **others) -> Exam:
        """These requests as `evaluation` asks them, answered greedily; `others` are further fields of Exam."""
        evaluation = self.settings.evaluation
        asked = {"tags": (*self.pack.tags, None) if evaluation.untagged else self.pack.tags, "misspelt": evaluation.misspelt}
        return Exam(
            requests=requests,
            chat=self.chat,
            pack=self.pack,
            max_completion_length=evaluation.max_completion_length or self.settings.train["max_completion_length"],
            seed=self.settings.seed,
            batch_size=evaluation.batch_size,
            **asked | others,
        )

    def judged(self, answers: Iterable[Answer]) -> list[Judged]:
        """Answers with their verdicts."""
        return judge(answers, self.classifier, self.pack)

    def training_prompts(self) -> Iterator[Prompt]:
        """Each distinct training row once, or a sample of an unlimited source."""
        num_rows = self.source.num_rows
        for number in range(256 if num_rows is None else min(num_rows, MAX_CHECKED_ROWS)):
            yield self.source[number]

    def mistakes(self) -> list[str]:
        """Combinations that cannot work, as only the data or the tokenizers can show."""
        settings = self.settings
        mistakes = [fault] if (fault := too_few_rows(settings, self.source.num_rows)) else []
        if lowest(settings.loss.lmbda) < 1 and not settings.loss.seq_kd and not self.source.has_references:
            mistakes.append(
                f"loss.lmbda={shortened(settings.loss.lmbda)}: off-policy rows need an assistant turn, and not every row has one; set "
                "loss.seq_kd=true to let the teacher write them, or loss.lmbda=1"
            )
        is_told = settings.teacher_backend.kind == "openai"
        if not LOSSES[kind := settings.loss.kind].has_spans and not all(self.is_exact.values()):
            others = " or ".join(f"loss.kind={name}" for name, module in LOSSES.items() if module.has_spans)
            others += ", with teacher_backend=local" * is_told
            mistakes.append(f"loss.kind={kind} compares token by token, but teacher and student have different tokenizers: use {others}")
        if is_told:
            served, text = Completions(settings.teacher_backend, settings.model.teacher), self.chat.teacher_text(self.source[0])
            mistakes += served.mistakes(text, encode(self.chat.teacher_tokenizer, text), settings.model.teacher)
            for tag, limits in self.teacher_limits.items():
                room = min(limits.context_tokens, served.context_tokens - 1)  # it writes a token more
                self.teacher_limits[tag] = replace(limits, context_tokens=room)
        mistakes += self.student_limits.stop_mistakes("model.student")
        keys = {tag: teacher_key(settings.model, tag) for tag in self.pack.tags}
        mistakes += dict.fromkeys(fault for tag, key in keys.items() for fault in self.teacher_limits[tag].stop_mistakes(key))
        return mistakes + self.length_mistakes()

    def length_mistakes(self) -> list[str]:
        """Rows that do not fit, among those that are checked before training."""
        checked = (*self.training_prompts(), *self.source.evaluation(), *self.source.selection())
        found = list(dict.fromkeys(mistake for prompt in checked for mistake in self.row_mistakes(prompt)))
        if len(found) > MAX_REPORTED_ROWS:
            found = [*found[:MAX_REPORTED_ROWS], f"... and {len(found) - MAX_REPORTED_ROWS} more"]
        return found

    def row_mistakes(self, prompt: Prompt) -> list[str]:
        """What of a row does not fit: a prompt longer than the models' room, an answer longer than train.max_completion_length."""
        room = self.settings.train["max_completion_length"]
        where = prompt.origin or f"prompts row {prompt.row}"
        try:
            teacher_ids, student_ids = self.chat.teacher_ids(prompt), self.chat.student_ids(prompt)
        except ValueError as error:  # a chat template that this conversation does not suit
            return [f"{where}: {error}"]
        found = self.student_limits.row_mistakes("model.student", student_ids)
        limits = self.teacher_limits[prompt.style]
        found += limits.row_mistakes(teacher_key(self.settings.model, prompt.style), teacher_ids.prefix + teacher_ids.rest)
        fewer = " or lower styles.few_shots" if self.pack.few_shots else ""
        for side, length, limit, other in (
            ("student's", len(student_ids), self.settings.prompts.max_prompt_tokens or self.student_limits.context_tokens - room, ""),
            ("teacher's", len(teacher_ids.prefix) + len(teacher_ids.rest), limits.context_tokens - room, fewer),
        ):
            if length > limit:
                found.append(f"{where}: the {side} prompt has {length} tokens, {limit} fit; shorten the request{other}")
        if lowest(self.settings.loss.lmbda) < 1 and not self.settings.loss.seq_kd and prompt.reference is not None:
            answer = self.chat.student_tokenizer(prompt.reference, add_special_tokens=False, split_special_tokens=True)
            length = len(answer["input_ids"]) + 1
            found += self.student_limits.row_mistakes("model.student", answer["input_ids"])
            if length > room:
                found.append(f"{where}: the answer has {length} tokens, train.max_completion_length is {room}")
        return found


def device_of(device: str) -> torch.device:
    """The device of `hardware.device`, for models that no trainer places."""
    return PartialState(cpu=device == "cpu").device


def control_tokens(chat: Chat) -> frozenset[str]:
    """The tokenizers' special tokens, which no text of a row may hold; a pack's own tag forges no turn, even where it is one."""
    return special_tokens(chat.student_tokenizer, *map(chat.reader_of, chat.pack.tags)) - {f"<style:{tag}>" for tag in chat.pack.tags}
