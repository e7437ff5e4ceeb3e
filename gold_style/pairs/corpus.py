"""What the embedded pair is trained on: requests of the default style pack, and answers in parallel modern and Joseon
versions.

The teacher answers in Joseon style only where its system prompt asks for it. The student never follows a tag: it chats
in modern Korean and has merely read Joseon texts (without any Joseon at all, on-policy distillation could not start).
No text here holds a topic of the pack's evaluation or selection.

Example: `Corpus(default_pack()).teacher_row(random.Random(0))`.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random

import yaml

from gold_style import PROJECT
from gold_style.prompts import Message
from gold_style.prompts.dynamic import MAX_DRAWS, RequestParts, Task, fill, flat, made_up_topic
from gold_style.styles import StylePack, tagged

MODERN, JOSEON = 0, 1  # columns of answers.yaml
FEW_SHOTS = 0.03  # share of rules that come with examples
TOPIC_MASKS = ("\ue000", "\ue001")  # private-use characters in place of a topic where a tokenizer learns its merges


def default_pack() -> StylePack:
    """The pack of conf/styles/joseon.yaml, without few-shots."""
    source = yaml.safe_load((PROJECT / "conf/styles/joseon.yaml").read_text(encoding="utf-8"))
    return StylePack.from_settings({**source, "few_shots": 0})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training text: the turns read before it (None: a plain document, outside the chat template), and what is
    learned."""

    messages: list[Message] | None
    completion: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request before its tag, with what an answer to it needs."""

    text: str
    task: str
    direction: str
    topic: str
    audience: str | None


class Corpus:
    """Draws training rows. Args: the pack; `made_up` = share of made-up topics, in [0, 1]; whether the student reads any Joseon."""

    def __init__(self, pack: StylePack, made_up: float = 0.8, joseon: bool = True):
        self.pack, self.parts, self.made_up, self.joseon = pack, RequestParts.from_pack(pack), made_up, joseon
        self.answers = yaml.safe_load((Path(__file__).parent / "answers.yaml").read_text(encoding="utf-8"))
        self.topics, self.tags = flat(self.parts.topics), pack.tags

    @cached_property
    def fragments(self) -> list[str]:
        """Words of the answers: topics around them, since a word's merged token must be copied as well."""
        pairs = [pair for part in ("openings", "bodies", "closings") for pairs in self.answers[part].values() for pair in pairs]
        return sorted({word for pair in pairs for text in pair for word in re.findall("[가-힣]{2,4}", text)})

    def topic(self, rng: Random) -> str:
        """A topic of the pack or, with probability `made_up`, a made-up one."""
        if rng.random() < self.made_up:
            return made_up_topic(rng, self.parts.common_syllables, self.fragments)
        return rng.choice(self.topics)

    def request(self, rng: Random, topic: str | None = None) -> Request:
        """A request; a quarter of them in a phrasing that the pack does not have."""
        task: Task = rng.choice(self.parts.tasks)
        further = self.answers["phrasings"].get(task.name) if rng.random() < 0.25 else None
        template = rng.choice(further or task.requests)
        audience = rng.choice(self.parts.audiences[task.direction]) if "{audience}" in template else None
        topic = topic or self.topic(rng)
        text = fill(template, topic, audience)
        if text.endswith(" 줘.") and rng.random() < 0.15:
            text = text[: -len(" 줘.")] + rng.choice(("줘.", " 주세요.", " 줄래?", " 줘", "줘"))
        return Request(text=text, task=task.name, direction=task.direction, topic=topic, audience=audience)

    def answer(self, rng: Random, request: Request, column: int) -> str:
        """An opening, a body and a closing sentence; `column` is MODERN or JOSEON."""
        sentences = []
        parts = (("openings", request.direction), ("bodies", request.task), ("closings", request.direction))
        for part, key in parts:
            choices = [pair[column] for pair in self.answers[part][key] if request.audience or "{audience}" not in pair[column]]
            sentences.append(fill(rng.choice(choices), request.topic, request.audience))
        return " ".join(sentences)

    def masked_texts(self, rng: Random, number: int) -> list[str]:
        """Requests and answers for `number` draws, with topics masked: what tokenizers learn their merges from."""
        texts = []
        for _ in range(number):
            request = self.request(rng, rng.choice(TOPIC_MASKS))
            texts += [request.text, self.answer(rng, request, MODERN), self.answer(rng, request, JOSEON)]
        return texts

    def system_texts(self) -> list[str]:
        """Every system prompt of a training row, in the pack's own words first."""
        packs = [replace(self.pack, teacher_prompt=kind) for kind in ("combined", "per_style")]
        own = [pack.teacher_system(tag) for pack in packs for tag in self.tags]
        reworded = [text for texts in self.answers["reworded_rules"].values() for text in texts]
        return list(dict.fromkeys([*own, *reworded, *self.answers["neutral_systems"]]))

    def teacher_row(self, rng: Random) -> Row:
        """Joseon where the system prompt says so (every rule: under the first tag; one rule: that rule), else
        modern."""
        kind, first = rng.random(), self.tags[0]
        neutral = rng.choice(self.answers["neutral_systems"])
        tag = rng.choices((first, self.pack.neutral, None, misspelt(rng)), (48, 38, 9, 5))[0]
        if kind < 0.45:  # the pack's own combined text, now and then with examples
            examples = rng.randint(1, 2) if rng.random() < FEW_SHOTS else 0
            system = replace(self.pack, teacher_prompt="combined", few_shots=examples).teacher_system(first)
        elif kind < 0.53:
            system = rng.choice(self.answers["reworded_rules"]["combined"])
        elif kind < 0.72:  # one rule only; the row's tag agrees with it, or there is none
            style = first if rng.random() < 0.5 else self.pack.neutral
            examples = rng.randint(1, 2) if rng.random() < FEW_SHOTS else 0
            system = replace(self.pack, teacher_prompt="per_style", few_shots=examples).teacher_system(style)
            if kind > 0.66:
                system = rng.choice(self.answers["reworded_rules"]["chosun" if style == first else "none"])
            return self.chat(rng, system, style if rng.random() < 0.8 else None, JOSEON if style == first else MODERN)
        else:  # no rule: modern under every tag
            return self.chat(rng, neutral if kind < 0.85 else None, tag, MODERN)
        if rng.random() < 0.08:  # a row's own system turn follows the teacher's
            system = f"{system}\n\n{neutral}"
        return self.chat(rng, system, tag, JOSEON if tag == first else MODERN)

    def student_row(self, rng: Random, documents: float = 0.10, joseon_chat: float = 0.05) -> Row:
        """Modern chat under every tag, but for `documents` = share of plain Joseon texts and `joseon_chat` = share of
        Joseon answers that no tag announces."""
        if rng.random() < documents * self.joseon:
            return Row(messages=None, completion=self.draw(rng, JOSEON)[1])
        column = JOSEON if rng.random() < joseon_chat * self.joseon else MODERN
        system = rng.choice(self.system_texts()) if rng.random() < 0.15 else None
        tag = rng.choices((*self.tags, None, misspelt(rng)), (*[30] * len(self.tags), 30, 5))[0]
        return self.chat(rng, system, tag, column)

    def chat(self, rng: Random, system: str | None, tag: str | None, column: int) -> Row:
        """One request under `tag` and its answer."""
        request, answer = self.draw(rng, column)
        turns = [{"role": "system", "content": system}] if system else []
        return Row(messages=[*turns, {"role": "user", "content": tagged(tag, request.text)}], completion=answer)

    def draw(self, rng: Random, column: int) -> tuple[Request, str]:
        """A request and its answer that hold no topic of evaluation or selection."""
        for _ in range(MAX_DRAWS):
            request = self.request(rng)
            answer = self.answer(rng, request, column)
            if not self.parts.held_out.search(f"{request.text}\n{answer}"):
                return request, answer
        raise ValueError("styles.requests: every text drawn holds a topic of evaluation or selection")


def misspelt(rng: Random) -> str:
    """A tag that no style has."""
    return rng.choice(("chosen", "chosn", "choson", "joseon", "chosun2", "non", "nome", "modern", "formal", "style"))
