"""Requests composed from a style pack: tasks x audiences x topics, as a pure function of (seed, row number).

Row k of seed s is the same in every process, after a restart and in any order, because each row draws from a generator
of its own, seeded with a hash of (seed, purpose, k). Training rows never hold a topic of `evaluation()` or
`selection()`, not even inside another word.

Example: `build(settings, pack, None)[0].request` is a text such as "친구에게 비빔밥을 소개해 줘.".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import ClassVar

from gold_style.config.settings import Settings
from gold_style.prompts import Prompt
from gold_style.prompts.shuffle import hashed
from gold_style.speech.languages import KOREAN, mention
from gold_style.styles import DIRECTIONS, StylePack, one_of

EVAL_SAMPLES = 128  # requests where the settings say null
SYLLABLES = tuple(c for c in map(chr, range(0xAC00, 0xD7A4)) if len(c.encode("euc_kr", "ignore")) == 2)  # KS X 1001: 2,350
PARTICLES = {"은": "은는", "을": "을를", "이": "이가", "과": "과와", "으로": ("으로", "로")}  # after a closed, an open syllable
PARTICLE_LIKE = "이이이이가가기기은는을를의도만과와로지에"  # syllables of nouns that a particle could be, too
LIQUID, CLOSED = set("178LRl"), set("036MN")  # digits and letters by how their Korean names end; the others are open
MARKER = re.compile(r"\{([^{}]*)\}")
MAX_DRAWS = 1000  # of one row, until it is free of held-out topics


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked for, and who writes to whom."""

    name: str
    direction: str  # "up" | "equal" | "down"
    requests: tuple[str, ...]  # templates with {topic}, {audience} and particle markers


@dataclass(frozen=True, kw_only=True)
class RequestParts:
    """What requests are made of: the checked `requests` of a style pack."""

    tasks: tuple[Task, ...]
    audiences: Mapping[str, tuple[str, ...]]  # direction -> audiences
    topics: Mapping[str, tuple[str, ...]]  # era -> training topics
    evaluation_topics: Mapping[str, tuple[str, ...]]
    selection_topics: Mapping[str, tuple[str, ...]]
    language: str = KOREAN

    @classmethod
    def from_pack(cls, pack: StylePack) -> "RequestParts":
        """Raises ValueError with every mistake in `styles.requests`, a line each."""
        source = pack.requests
        missing = [name for name in ("tasks", "audiences", "topics", "evaluation_topics", "selection_topics") if not source.get(name)]
        if missing:
            raise ValueError("\n".join(f"styles.requests.{name}: missing, and prompts=dynamic composes from it" for name in missing))
        mistakes = [line for direction in source["audiences"] for line in one_of("styles.requests.audiences", direction, DIRECTIONS)]
        audiences = {direction: tuple(names) for direction, names in source["audiences"].items()}
        tasks = tuple(read_task(name, entry, audiences, mistakes, pack.language) for name, entry in source["tasks"].items())
        topics = {
            kind: {era: tuple(map(str, names)) for era, names in source[kind].items()}
            for kind in ("topics", "evaluation_topics", "selection_topics")
        }
        parts = cls(tasks=tasks, audiences=audiences, language=pack.language, **topics)
        mistakes += parts.held_out_in_training(pack)
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return parts

    @cached_property
    def held_out(self) -> re.Pattern[str]:
        """Matches any topic of evaluation or selection; in languages with words of their own, as words in any form."""
        names = [*flat(self.evaluation_topics), *flat(self.selection_topics)]
        if self.language != KOREAN:
            return re.compile("|".join(mention(name, self.language).pattern for name in names), re.IGNORECASE)
        return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))

    @cached_property
    def common_syllables(self) -> tuple[str, ...]:
        """Syllables of the training topics, each once."""
        return tuple(sorted({c for topic in flat(self.topics) for c in topic if "가" <= c <= "힣"}))

    def held_out_in_training(self, pack: StylePack) -> list[str]:
        """A message for each held-out topic that a training topic, a template, an audience or a teacher text gives away."""
        texts = [*flat(self.topics), *flat(self.audiences), *(template for task in self.tasks for template in task.requests)]
        texts += [text for style in pack.styles for shot in style.few_shots for text in (shot.request, shot.answer)]
        texts += [pack.intro, *(style.rule for style in pack.styles)]
        found = [(match.group(), text) for text in texts if (match := self.held_out.search(text))]
        messages = [f"styles.requests: the held-out topic {topic!r} is also in {text!r}" for topic, text in found]
        both = sorted({*flat(self.evaluation_topics)} & {*flat(self.selection_topics)})
        return messages + [f"styles.requests: the topic {topic!r} is held out for both evaluation and selection" for topic in both]


def flat(lists: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Every name of a table of names."""
    return [name for names in lists.values() for name in names]


def read_task(name: str, entry: Mapping, audiences: Mapping[str, tuple[str, ...]], mistakes: list[str], language: str = KOREAN) -> Task:
    """One entry of styles.requests.tasks; what is wrong with it is added to `mistakes`."""
    key = f"styles.requests.tasks.{name}"
    direction, templates = str(entry.get("direction")), tuple(entry.get("requests") or ())
    allowed = ("topic", "audience", *(PARTICLES if language == KOREAN else ()))
    wrong = one_of(f"{key}.direction", direction, DIRECTIONS)
    if not wrong and not audiences.get(direction) and any("{audience}" in template for template in templates):
        wrong = [f"styles.requests.audiences.{direction}: missing, and the task {name} needs it"]
    if not templates:
        wrong.append(f"{key}.requests: missing")
    for template in templates:
        for marker in MARKER.findall(template):
            hint = f"; it is a Korean particle, and styles.language is {language}" if marker in PARTICLES else ""
            wrong += [line + hint for line in one_of(f"{key}.requests", marker, allowed)]
        if "{topic}" not in template:
            wrong.append(f"{key}.requests: {template!r} has no {{topic}}")
    mistakes += wrong
    return Task(name=name, direction=direction, requests=templates)


def closing(text: str) -> str:
    """How the last letter or digit of `text` ends when read aloud: "open" (a vowel), "l" (ㄹ) or "closed".

    Digits are read as Sino-Korean numbers, capital letters by their names; other Latin words by a rule of thumb
    (chatbot, film: closed).
    """
    spoken = "".join(c for c in text if c.isalnum())
    last = spoken[-1:]
    if "가" <= last <= "힣":
        return {0: "open", 8: "l"}.get((ord(last) - 0xAC00) % 28, "closed")
    if last in LIQUID:
        return "l"
    if last.isdigit() or last.isupper():
        return "closed" if last in CLOSED else "open"
    return "closed" if re.search(r"([mn]|ng|[aeiou][bckpt])$", spoken.lower()) else "open"


def fill(template: str, topic: str, audience: str | None = None) -> str:
    """`template` with topic, audience and the particles that fit them."""
    text, start = "", 0
    for match in MARKER.finditer(template):
        text += template[start : match.start()]
        start, name = match.end(), match.group(1)
        if name in PARTICLES:
            end = closing(text)
            text += PARTICLES[name][end == "open" or (name == "으로" and end == "l")]
        else:
            text += {"topic": topic, "audience": audience or ""}[name]
    return text + template[start:]


def draw(*key: object) -> Random:
    """A generator that depends on nothing but `key`: the same in every process and on every machine."""
    return Random(hashed(*key, num_bytes=16))


def made_up_topic(rng: Random, common: Sequence[str], fragments: Sequence[str] = ()) -> str:
    """A word of 1 to 5 syllables that means nothing, now and then two words or around one of `fragments`.

    It keeps the embedded student able to copy any topic. Half of the words use `common` syllables, half any of KS X
    1001; what small models stumble over comes often: a last syllable that looks like a particle, a syllable said
    twice.
    """
    kind = rng.random()
    if fragments and kind < 0.12:
        word, place = rng.choice(fragments), rng.random()
        return word if place < 0.3 else word + rng.choice(common) if place < 0.65 else rng.choice(common) + word
    syllables = common if rng.random() < 0.5 else SYLLABLES
    length = rng.choices((1, 2, 3, 4, 5), (10, 33, 28, 20, 9))[0]
    letters = [rng.choice(syllables) for _ in range(length)]
    if length >= 2 and kind > 0.85:
        letters[-1 if kind > 0.90 else rng.randrange(length)] = rng.choice(PARTICLE_LIKE)
    elif length >= 3 and kind > 0.77:
        letters[-1] = letters[-2]
    elif length >= 3 and kind > 0.70:
        letters.insert(rng.randint(1, length - 1), " ")
    return "".join(letters)


@dataclass(eq=False)
class DynamicSource:
    """Prompts without end, each composed when it is asked for (the PromptSource contract)."""

    pack: StylePack
    _: KW_ONLY
    seed: int
    chosun_probability: float = 0.6  # share of the pack's first tag; the other tags share the rest
    untagged_share: float = 0.0  # rows of the style `untagged` that lose their tag, of all rows; once built, the share reached
    pairing: str = "independent"  # | "paired": one request under every tag, in consecutive rows
    random_topics: float = 0.0  # share of made-up topics, in [0, 1]
    eval_samples: int = EVAL_SAMPLES
    selection_samples: int = 32
    num_rows: ClassVar[None] = None
    has_references: ClassVar[bool] = False

    def __post_init__(self):
        """Raises ValueError for mistakes in the pack's requests, and where it gives fewer than are held out."""
        if self.random_topics and self.pack.language != KOREAN:
            reason = f"made-up topics are Korean syllables, and styles.language is {self.pack.language}; write prompts.random_topics=0"
            raise ValueError(f"prompts.random_topics={self.random_topics:g}: {reason}")
        self.parts, self.notes = RequestParts.from_pack(self.pack), []
        tags, asked = self.pack.tags, self.untagged_share
        probability = self.chosun_probability if self.pack.untagged == tags[0] else (1 - self.chosun_probability) / (len(tags) - 1)
        of_style = 1 / len(tags) if self.pairing == "paired" else probability
        self._loses_tag = min(0.5, asked / of_style) if of_style else 0.0
        self.untagged_share = self._loses_tag * of_style
        if round(self.untagged_share, 6) < asked:
            limit = f"at most half of the rows of styles.untagged={self.pack.untagged} lose their tag"
            self.notes.append(f"prompts.untagged_share={asked:g}: {self.untagged_share:g} is reached; {limit}")
        self._evaluation = self._held_out("eval_samples", self.eval_samples, self.parts.evaluation_topics)
        self._selection = self._held_out("selection_samples", self.selection_samples, self.parts.selection_topics)

    def __getitem__(self, number: int) -> Prompt:
        """The `number`-th training prompt, number >= 0."""
        tags = self.pack.tags
        if self.pairing == "paired":
            tag, request = tags[number % len(tags)], number // len(tags)
        else:
            rng = draw(self.seed, "tag", number)
            tag = tags[0] if rng.random() < self.chosun_probability else rng.choice(tags[1:])
            request = number
        written = None if tag == self.pack.untagged and draw(self.seed, "untagged", number).random() < self._loses_tag else tag
        rng = draw(self.seed, "request", request)
        for _ in range(MAX_DRAWS):
            prompt = self._request(rng, self._topic(rng))
            if not self.parts.held_out.search(prompt.request):
                return replace(prompt, style=tag, tag=written, row=number, origin=f"dynamic:{number}")
        raise ValueError("styles.requests: every request drawn holds a topic of evaluation or selection")

    def evaluation(self) -> Sequence[Prompt]:
        """Requests for the summary, the same for every seed: both eras, all tasks, no topic twice while topics last."""
        return self._evaluation

    def selection(self) -> Sequence[Prompt]:
        """Requests for live evaluation and for choosing a checkpoint, the same for every seed."""
        return self._selection

    def _topic(self, rng: Random) -> str:
        if rng.random() < self.random_topics:
            return made_up_topic(rng, self.parts.common_syllables)
        return rng.choice(self.parts.topics[rng.choice(list(self.parts.topics))])

    def _request(self, rng: Random, topic: str, task: Task | None = None) -> Prompt:
        """A request without a tag yet."""
        task = task or rng.choice(self.parts.tasks)
        template = rng.choice(task.requests)
        audience = rng.choice(self.parts.audiences[task.direction]) if "{audience}" in template else None
        return Prompt(request=fill(template, topic, audience), style="", tag=None, topic=topic, direction=task.direction)

    def _held_out(self, key: str, number: int, topics: Mapping[str, tuple[str, ...]]) -> tuple[Prompt, ...]:
        """`number` distinct requests that walk through eras, tasks and topics in turn."""
        rng = draw(key, self.pack.name)
        shuffled = {era: rng.sample(names, len(names)) for era, names in topics.items()}
        by_direction = [[task for task in self.parts.tasks if task.direction == direction] for direction in DIRECTIONS]
        tasks = [task for turn in zip_longest(*by_direction) for task in turn if task]
        prompts: list[Prompt] = []
        eras, seen, repeats = list(shuffled), set(), 0
        while len(prompts) < number and repeats < MAX_DRAWS:
            row = len(prompts)
            names = shuffled[eras[row % len(eras)]]
            # a repeated request is replaced by one of the next topic, so that small packs fill up as well
            topic = names[(row // len(eras) + repeats) % len(names)]
            prompt = self._request(rng, topic, tasks[row // len(eras) % len(tasks)])
            if prompt.request in seen:
                repeats += 1
                continue
            seen.add(prompt.request)
            repeats = 0
            style = self.pack.tags[0]
            prompts.append(replace(prompt, style=style, tag=style, row=row, origin=f"dynamic {key}:{row}"))
        if len(prompts) < number:
            raise ValueError(f"prompts.{key}: {number} asked for, but the pack's topics and tasks give no more than {len(prompts)}")
        return tuple(prompts)


def build(
    settings: Settings, pack: StylePack, run_directory: Path | None = None, special_tokens: frozenset[str] = frozenset()
) -> DynamicSource:
    """The source of prompts=dynamic. Raises ValueError for a pack without requests, or with fewer than are held out."""
    prompts = settings.prompts
    return DynamicSource(
        pack,
        seed=settings.seed,
        chosun_probability=prompts.chosun_probability,
        untagged_share=prompts.untagged_share,
        pairing=prompts.pairing,
        random_topics=prompts.random_topics,
        eval_samples=EVAL_SAMPLES if prompts.eval_samples is None else prompts.eval_samples,
        selection_samples=prompts.selection_samples,
    )
