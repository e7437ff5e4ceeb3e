"""Asks models what the student has kept of its start (evaluation.retention); gold_style/measure/retention.py says what is measured.

retention = Retention(inputs)
retention.ask_teacher(teacher)                              # while it is loaded
details = retention.compare(Reader(start), Reader(student), before, exam)
"""

from collections.abc import Sequence
from typing import Any

from gold_style.chat import encode
from gold_style.engine.exam import Exam
from gold_style.engine.reader import Reader, first_id, windows
from gold_style.engine.teacher import AnyTeacher, TeacherReader
from gold_style.job.inputs import Inputs
from gold_style.measure.answers import Answer
from gold_style.measure.retention import retention
from gold_style.speech.languages import held_out

WINDOW_TOKENS = 512  # of the plain text, at most
KL_REQUESTS, KL_TOKENS = 32, 64  # requests without a tag, and tokens of each answer, that the divergence is measured on


class Retention:
    """Held-out texts of the pack's language, and what the teacher chose. Raises ValueError where there are no such texts."""

    def __init__(self, inputs: Inputs):
        self.inputs, self.teacher = inputs, None
        text, self.items = held_out(inputs.pack.language)
        most_tokens = min(WINDOW_TOKENS, inputs.student_limits.context_tokens)
        self.rows, self.sizes = zip(*windows(text, inputs.chat.student_tokenizer, most_tokens), strict=True)

    def ask_teacher(self, teacher: AnyTeacher) -> None:
        """Have the teacher choose, without its system prompt and examples."""
        self.teacher = TeacherReader(teacher).choices(self.items, teacher.tokenizer)

    def compare(self, before: Reader, after: Reader, answers: Sequence[Answer], exam: Exam) -> dict[str, Any]:
        """`details.retention`. `answers` are the start's to the requests of `exam`; those without a tag are where KL is taken: at every
        token of KL_TOKENS, and at the place after an answer."""
        evaluation, tokenizer, asked = self.inputs.settings.evaluation, self.inputs.chat.student_tokenizer, []
        for answer in [answer for answer in answers if answer.style is None][:KL_REQUESTS]:
            prompt = exam.requests[answer.id].under(None, self.inputs.pack.untagged)
            asked.append((self.inputs.chat.student_ids(prompt), (*encode(tokenizer, answer.text)[:KL_TOKENS], first_id(tokenizer))))
        recalls = [([-nats for nats in reader.logprobs(self.rows)], reader.choices(self.items, tokenizer)) for reader in (before, after)]
        options, kl = [len(item["options"]) for item in self.items], before.divergences(after, asked)
        how = {"samples": evaluation.bootstrap_samples, "confidence": evaluation.confidence}
        return retention(*recalls, kl, self.sizes, options, self.teacher, **how)
