"""One answer, and what is judged about it on its own: verdict, level, content kept, degenerate, copied.

The classifier says which style a text is in, the pack which style was asked for. "ambiguous" and "other" are reserved
verdicts: ambiguous answers leave the denominators, other ones (another language, empty, looping) stay in them as failures.

    judge([Answer(id=0, style="chosun", request="봄 축제를 알려 줘.", text="봄 축제를 아뢰옵니다.")], classifier, pack)
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from gold_style.measure.content import copies_request, keeps_request_words, keeps_topic
from gold_style.speech import is_degenerate
from gold_style.styles import StylePack
from gold_style.verdicts import AMBIGUOUS, OTHER, Classifier

MIXED = "mixed"
LAST_END = re.compile(r"[.!?。！？…~][\"'”’」』)\]]*(?=[^.!?。！？…]*$)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model wrote for one request under one tag."""

    id: int | str  # of the request: the same under every tag
    style: str | None  # the tag as written in the prompt; None for a request without one
    request: str  # without its tag
    text: str
    finished: bool | None = None  # stopped by itself, not at the length limit; None = not known
    num_tokens: int | None = None
    topic: str | None = None
    direction: str | None = None  # up | equal | down
    era: str | None = None  # of the topic
    likelihood_ratio: float | None = None  # teacher's log p(y | first tag) - log p(y | neutral tag), nats per token


@dataclass(frozen=True, kw_only=True)
class Judged(Answer):
    """An answer with everything that is counted about it. Fields without default are what samples.jsonl must hold."""

    verdict: str
    strict: str  # the verdict that all decided sentences share, else "mixed"; "ambiguous": none is decided
    level: str | None
    degenerate: bool
    copied: bool  # the request given back
    content: bool | None  # names the topic, or without a known topic half of the request's content words; None = cannot be told
    accepted_level: bool | None  # the level fits who writes to whom; None where direction or accepted levels are not known


def judge(answers: Iterable[Answer], classifier: Classifier, pack: StylePack) -> list[Judged]:
    """Each answer with its verdicts, in the order given."""
    return [judge_one(answer, classifier, pack) for answer in answers]


def judge_one(answer: Answer, classifier: Classifier, pack: StylePack) -> Judged:
    """One answer with its verdicts. A degenerate answer is "other", whatever its ending."""
    part = finished_part(answer.text) if answer.finished is False else answer.text
    degenerate = not answer.text.strip() or is_degenerate(answer.text, pack.language)
    verdict = OTHER if degenerate else classifier(part)
    level = None if degenerate else classifier.level(part)
    keeps, asked = (keeps_topic, answer.topic) if answer.topic else (keeps_request_words, answer.request)
    content = keeps(asked, answer.text, pack.language)
    accepted = pack.levels(answer.style, answer.direction) if answer.direction and answer.style in pack.tags else ()
    return Judged(
        **{field.name: getattr(answer, field.name) for field in fields(Answer)},
        verdict=verdict,
        strict=OTHER if verdict == OTHER else shared_verdict(classifier.sentences(part)),
        level=level,
        degenerate=degenerate,
        copied=copies_request(answer.request, answer.text),
        content=None if content is None else content and not degenerate,
        accepted_level=level in accepted if accepted else None,
    )


def finished_part(text: str) -> str:
    """`text` up to its last complete sentence, or all of it if none ended.

    An answer that was cut at the length limit is not judged by its broken end.
    """
    end = LAST_END.search(text)
    return text[: end.end()] if end and text[: end.start()].strip() else text


def shared_verdict(verdicts: Sequence[str]) -> str:
    """The one verdict among those that are not ambiguous; "mixed" if they differ, "ambiguous" if there is none."""
    decided = {verdict for verdict in verdicts if verdict != AMBIGUOUS}
    return AMBIGUOUS if not decided else decided.pop() if len(decided) == 1 else MIXED
