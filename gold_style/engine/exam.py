"""Prompts x model -> answers: the same requests under every tag, greedy by default, in batches.

    exam = Exam(requests=source.evaluation(), chat=chat, pack=pack, max_completion_length=128)
    before = exam.student(Backbone(student), output_ids)      # a list of Answer, to be judged by gold_style.measure
    ceiling = exam.teacher(teacher)

With several processes every one answers its share and all get the whole list.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count

from accelerate.utils import gather_object
from transformers import PreTrainedTokenizerBase

from gold_style.chat import Chat
from gold_style.engine.backbone import Backbone
from gold_style.engine.draws import uniforms
from gold_style.engine.rollout import GREEDY, Completion, OutputIds, Sampling, generate
from gold_style.engine.teacher import AnyTeacher
from gold_style.measure.answers import Answer
from gold_style.prompts import Prompt
from gold_style.styles import StylePack

Begin = Callable[[int], Callable[[int, int], None]]


@dataclass(kw_only=True)
class Exam:
    """A fixed set of requests, each asked under every tag of `tags` (None: untagged), the first `misspelt` also under a misspelt first tag.

    What is not under a tag of the pack is asked last, in batches of its own: the other answers keep their bits with and without it.
    `rank` and `num_processes` say which share this process answers. `begin`, where it is given, is called with the number of
    prompts, and what it returns with (done, total) after every batch.
    """

    requests: Sequence[Prompt]
    chat: Chat
    pack: StylePack
    max_completion_length: int
    sampling: Sampling = GREEDY
    seed: int = 0
    tags: Sequence[str | None] | None = None  # None: the pack's
    misspelt: int = 0
    rank: int = 0
    num_processes: int = 1
    batch_size: int = 128

    def __post_init__(self):
        tags, places = self.pack.tags if self.tags is None else self.tags, count()
        asked = [([tag for tag in tags if tag in self.pack.tags], self.requests)]
        asked += [([tag], self.requests) for tag in tags if tag not in self.pack.tags]
        asked += [([misspelt(self.pack.tags)], self.requests[: self.misspelt])]
        self.groups = [
            [(next(places), number, self._under(prompt, tag)) for number, prompt in enumerate(requests) for tag in under]
            for under, requests in asked
        ]

    def _under(self, prompt: Prompt, tag: str | None) -> Prompt:
        return prompt.under(tag, tag if tag in self.pack.tags else self.pack.untagged)

    def student(self, backbone: Backbone, output_ids: OutputIds, begin: Begin | None = None) -> list[Answer]:
        """Answers to the prompt as the student reads it: tag and request."""

        def write(prompts: list[Prompt], **how) -> list[Completion]:
            return generate(backbone, [self.chat.student_ids(prompt) for prompt in prompts], output_ids=output_ids, **how)

        return self._answers(write, lambda prompt: self.chat.student_tokenizer, begin)

    def teacher(self, teacher: AnyTeacher, begin: Begin | None = None) -> list[Answer]:
        """Answers of the teacher with its system prompt in view: the ceiling."""

        def write(prompts: list[Prompt], **how) -> list[Completion]:
            return teacher.generate([self.chat.teacher_ids(prompt) for prompt in prompts], **how)

        return self._answers(write, lambda prompt: teacher.of(prompt.style).tokenizer, begin)

    def _answers(self, write, tokenizer_of: Callable[[Prompt], PreTrainedTokenizerBase], begin: Begin | None) -> list[Answer]:
        mine = [group[self.rank :: self.num_processes] for group in self.groups]
        total = sum(map(len, mine))
        tick = begin(total) if begin and total else None
        answers: list[tuple[int, Answer]] = []
        for batch in (part[start : start + self.batch_size] for part in mine for start in range(0, len(part), self.batch_size)):
            prompts = [prompt for *_, prompt in batch]
            how = {"max_new_tokens": self.max_completion_length, "sampling": self.sampling}
            if self.sampling.temperature:
                keys = [(self.seed, "evaluation", prompt.request, prompt.tag or "") for prompt in prompts]
                how["uniforms_BG"] = uniforms(keys, self.max_completion_length)
            for (place, number, prompt), completion in zip(batch, write(prompts, **how), strict=True):
                answers.append((place, answer_of(number, prompt, completion, tokenizer_of(prompt))))
            if tick:
                tick(len(answers), total)
        if self.num_processes > 1:
            answers = gather_object(answers)
        return [answer for _, answer in sorted(answers, key=lambda pair: pair[0])]


def answer_of(number: int, prompt: Prompt, completion: Completion, tokenizer: PreTrainedTokenizerBase) -> Answer:
    """What a completion says to a prompt; `number` is the request's."""
    return Answer(
        id=number,
        style=prompt.tag,
        request=prompt.request,
        text=tokenizer.decode(completion.ids, skip_special_tokens=True).strip(),
        finished=completion.finished,
        num_tokens=len(completion.ids),
        topic=prompt.topic,
        direction=prompt.direction,
        era=prompt.era,
    )


def misspelt(tags: Sequence[str]) -> str:
    """A plausible typing mistake in the first of `tags` that is none of them: its last two letters swapped, else the last one repeated."""
    tag = tags[0]
    longer = (tag + tag[-1] * number for number in count(1))
    return next(word for word in chain([tag[:-2] + tag[-1] + tag[-2:-1]], longer) if word not in tags)
