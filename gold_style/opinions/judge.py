"""A language model as a judge of answers: three questions about each, and which of two is better, in both orders.

Every question is a request of its own, so that no reply colours another, and is answered with one label. The judge of
a text's style sees neither tag nor request nor whose text it is. Replies are kept in judge.jsonl, one line per question,
under a key made of the judge's name and the question's text: what is there is not asked again, and a text that two
models wrote is judged once. A reply that gives no label is asked for once more, then counted as failed.

Known biases of such judges (position, length, own style): Zheng et al. 2023, https://arxiv.org/abs/2306.05685.

Example: `ask_all(plan(samples, pack).questions, endpoint, Replies(Path("run/judge.jsonl"), endpoint.model))`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from gold_style.measure.answers import Judged
from gold_style.measure.samples import MODELS, Samples, side_by_side
from gold_style.opinions.endpoint import Endpoint, Unanswered
from gold_style.opinions.labels import COMPARISON, CONTENT, FLUENCY, TEXTS, Label, parsed, shown, style_labels
from gold_style.runs.files import JsonLines, read_json_lines
from gold_style.runs.redact import redact, say
from gold_style.styles import StylePack

PAIRS = (("before", "after"), ("after", "teacher"))
FIRST, SECOND, TIE = "A", "B", "tie"
MISSING = object()  # in place of a label: there is no reply yet
GIVE_UP = 5  # requests without a reply, one after the other, after which the endpoint counts as gone
KEPT_CHARACTERS = 200  # of a reply
SYSTEM, TASKS = TEXTS["system"], TEXTS["tasks"]


@dataclass(frozen=True)
class Question:
    """One thing to ask about the answer of a model, or about two models' answers A and B to the same request."""

    kind: str  # of TASKS
    text: str
    labels: tuple[Label, ...]
    models: tuple[str, ...]
    answer: Judged  # of the first of `models`

    @classmethod
    def about(cls, kind: str, texts: dict[str, str], labels: tuple[Label, ...], models: tuple[str, ...], answer: Judged) -> "Question":
        """A question: the task, named texts between lines that no text can hold, and the labels with their meaning."""
        texts = {name: shown(text) for name, text in texts.items()}
        mark = hashlib.sha256("\n".join(texts.values()).encode("utf-8", "replace")).hexdigest()[:8]
        blocks = [f"[{name} 시작 {mark}]\n{text}\n[{name} 끝 {mark}]" for name, text in texts.items()]
        meanings = "\n".join(f"- {label.word}: {label.meaning}" for label in labels)
        words = ", ".join(label.word for label in labels)
        return cls(kind, "\n\n".join([TASKS[kind], *blocks, meanings, TEXTS["one_of"].format(words)]), labels, models, answer)

    def key(self, judge: str) -> str:
        """16 hex digits of who is asked what."""
        return hashlib.sha256(f"{judge}\n{SYSTEM}\n{self.text}".encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """What is asked about a run: single questions of an answer, and pairs of questions with the answers in both orders."""

    single: list[Question]
    paired: list[tuple[Question, Question]]

    @property
    def questions(self) -> list[Question]:
        """All of them, without pairs of equal texts, which need no judge."""
        return [*self.single, *(question for pair in self.paired if pair[0].text != pair[1].text for question in pair)]


def plan(samples: Samples, pack: StylePack, kinds: Sequence[str] = tuple(TASKS), number: int | None = None, seed: int = 0) -> Plan:
    """The questions about a run's answers: all, or those to `number` requests drawn by `seed`.

    Two answers are compared under the pack's own tags, where a rule says what was wanted.
    """
    rows = side_by_side(samples)
    ids = list(dict.fromkeys(answer.id for row in rows for answer in row.values()))
    chosen = set(ids if number is None or number >= len(ids) else Random(seed).sample(ids, number))
    rows = [row for row in rows if any(answer.id in chosen for answer in row.values())]
    styles = style_labels(pack)
    single = [question for model in MODELS for row in rows if model in row for question in questions_about(model, row[model], styles)]
    paired = [
        (better(models, row, pack), better(models[::-1], row, pack))
        for models in (PAIRS if "comparison" in kinds else ())
        for row in rows
        if row.keys() >= set(models) and row[models[0]].style in pack.tags
    ]
    return Plan([question for question in single if question.kind in kinds], paired)


def questions_about(model: str, answer: Judged, styles: tuple[Label, ...]) -> list[Question]:
    """The three questions about one answer."""
    text, both = {"글": answer.text}, {"요청": answer.request, "답변": answer.text}
    asked = {"style": (text, styles), "content": (both, CONTENT), "fluency": (text, FLUENCY)}
    return [Question.about(kind, texts, labels, (model,), answer) for kind, (texts, labels) in asked.items()]


def better(models: tuple[str, str], row: dict[str, Judged], pack: StylePack) -> Question:
    """Which of two models' answers to a request is better under a style's rule."""
    a, b = (row[model] for model in models)
    texts = {"말투 지침": pack.style(a.style).rule, "요청": a.request, "답변 A": a.text, "답변 B": b.text}
    return Question.about("comparison", texts, COMPARISON, models, a)


class Replies:
    """What judge.jsonl holds of one judge; a label is None where the judge gave none. Raises ValueError for a line that is no JSON."""

    def __init__(self, path: Path, judge: str):
        self.path, self.judge = path, judge
        self.labels = {row["key"]: row.get("label") for row in read_json_lines(path) if "key" in row}

    def label(self, question: Question) -> Any:
        """The label that a question was answered with, None, or MISSING."""
        return self.labels.get(question.key(self.judge), MISSING)

    def unanswered(self, questions: Iterable[Question]) -> list[Question]:
        """The questions without a reply, each text once."""
        wanted: dict[str, Question] = {}
        for question in questions:
            wanted.setdefault(question.key(self.judge), question)
        return [question for key, question in wanted.items() if key not in self.labels]


def ask(question: Question, endpoint: Endpoint) -> dict[str, Any]:
    """A line of judge.jsonl: the label that the judge gives, null where it gives none even when asked again.

    Raises what Endpoint.ask raises.
    """
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question.text}]
    for attempts in (1, 2):
        said = endpoint.ask(messages)
        label = parsed(said, question.labels)
        if label is not None or attempts == 2:
            break
        reminder = TEXTS["again"].format(", ".join(label.word for label in question.labels))
        reply = said[-KEPT_CHARACTERS:] or "(없음)"
        messages = [*messages, {"role": "assistant", "content": reply}, {"role": "user", "content": reminder}]
    whose = {"model": question.models[0]} if len(question.models) == 1 else {"models": question.models}
    about = {"question": question.kind, "id": question.answer.id, "style": question.answer.style, **whose}
    row = {"key": question.key(endpoint.model), "judge": endpoint.model, **about}
    return {**row, "label": label, "said": redact(said)[-KEPT_CHARACTERS:], "attempts": attempts}


def ask_all(questions: Iterable[Question], endpoint: Endpoint, replies: Replies, threads: int = 8) -> list[str]:
    """Ask what `replies` do not hold yet, `threads` requests at a time, append every reply at once, and say how far it is.

    Returns why each request without a reply has none; those are asked again next time. Raises Refused where the
    endpoint will not serve at all, and Unanswered after GIVE_UP requests in a row without a reply.
    """
    wanted = replies.unanswered(questions)
    file, reasons, in_a_row = JsonLines(replies.path), [], 0
    pool = ThreadPoolExecutor(threads)
    try:
        futures = [pool.submit(ask, question, endpoint) for question in wanted]
        for number, future in enumerate(as_completed(futures), 1):
            try:
                row = future.result()
            except Unanswered as error:
                reasons.append(str(error))
                in_a_row += 1
                if in_a_row >= max(GIVE_UP, threads):
                    raise
                continue
            in_a_row = 0
            file.append(row)
            replies.labels[row["key"]] = row["label"]
            if number == len(wanted) or number % max(1, len(wanted) // 10) == 0:
                say(f"{number} of {len(wanted)} judged")
    finally:
        endpoint.stop.set()
        pool.shutdown(cancel_futures=True)
        file.close()
    return reasons
