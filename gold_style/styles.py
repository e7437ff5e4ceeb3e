"""What a style is: the style pack of conf/styles, checked once, and the system prompt that only the teacher reads.

A pack is one YAML with two or more tags. The first tag is the style of interest, `neutral` the one whose share of that
style counts as leakage. `combined` teacher prompts hold the intro and every rule (the row's tag says which to follow),
`per_style` ones the row's own rule, which a row without a tag always gets: no tag says which of several to follow. The examples
of the styles that are spoken of are part of the system text, or turns between it and the request (`examples`).

Example: `StylePack.from_settings(settings.styles).teacher_system("chosun")`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gold_style import did_you_mean
from gold_style.speech.languages import LANGUAGES

DIRECTIONS = ("up", "equal", "down")  # who writes to whom: to a superior, to an equal, to a subordinate
TAG = re.compile(r"[a-z0-9_-]{1,32}")
SHIPPED = ("joseon", "village", "bard")  # the packs that come with the project


def tagged(tag: str | None, text: str) -> str:
    """`text` after its style tag, as the student reads it; without a tag only the text."""
    return text if tag is None else f"<style:{tag}> {text}"


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """One example that the teacher may read: a request without its tag, and its answer."""

    request: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Style:
    """One tag of a pack: the rule that the teacher reads, and what counts as having followed it."""

    tag: str
    rule: str
    verdict: str
    few_shots: tuple[FewShot, ...] = ()
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # direction -> accepted speech levels


@dataclass(frozen=True, kw_only=True)
class StylePack:
    """The styles of one run.

    Build it with `from_settings`, which checks it; gold_style.prompts.dynamic reads `requests`.
    """

    name: str
    intro: str
    styles: tuple[Style, ...]
    neutral: str
    untagged: str
    teacher_prompt: str = "combined"
    few_shots: int = 0  # examples per style that the teacher reads
    examples: str = "system"  # where it reads them: "system" text | "turns" of the conversation
    language: str = "ko"  # of requests and answers: one of gold_style.speech.languages
    classifier: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(default_factory=dict)
    requests: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, styles: Any) -> "StylePack":
        """The pack that `settings.styles` describes; a plain mapping of the same keys will do as well.

        Raises ValueError with every mistake found, a line each, naming the key. The types of single values are the schema's.
        """
        source = styles if isinstance(styles, Mapping) else vars(styles)
        mistakes: list[str] = []
        tags = source.get("styles") or {}
        if not isinstance(tags, Mapping) or len(tags) < 2:
            raise ValueError(f"styles.styles: a pack needs two or more tags, this one has {list(tags)}")
        parsed = tuple(read_style(str(tag), entry or {}, mistakes) for tag, entry in tags.items())
        for key in ("neutral", "untagged"):
            mistakes += one_of(f"styles.{key}", source.get(key), [style.tag for style in parsed])
        if source.get("neutral") == parsed[0].tag:
            mistakes.append(f"styles.neutral: {parsed[0].tag!r} is the pack's first tag, the style of interest; name another tag")
        mistakes += one_of("styles.language", language := source.get("language", "ko"), LANGUAGES)
        few_shots = source.get("few_shots", 0)
        fewest = min(parsed, key=lambda style: len(style.few_shots))
        if few_shots > (number := len(fewest.few_shots)):
            mistakes.append(f"styles.few_shots: {few_shots} asked for, but styles.styles.{fewest.tag}.few_shots has {number}")
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return cls(
            name=str(source.get("name", "")),
            intro=str(source.get("intro") or "").strip(),
            styles=parsed,
            neutral=source["neutral"],
            untagged=source["untagged"],
            teacher_prompt=source.get("teacher_prompt", "combined"),
            few_shots=few_shots,
            examples=source.get("examples", "system"),
            language=language,
            classifier=source.get("classifier") or {},
            requests=source.get("requests") or {},
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag, the style of interest first."""
        return tuple(style.tag for style in self.styles)

    @property
    def target_verdict(self) -> str:
        """The verdict of the style of interest; its share under `neutral` is the leakage."""
        return self.styles[0].verdict

    def style(self, tag: str) -> Style:
        """The style of a tag. Raises ValueError for a tag that the pack does not have."""
        for style in self.styles:
            if style.tag == tag:
                return style
        raise ValueError("\n".join(one_of("style", tag, self.tags)))

    def verdict_of(self, tag: str) -> str:
        """The verdict that an answer under `tag` should get."""
        return self.style(tag).verdict

    def levels(self, tag: str, direction: str | None) -> tuple[str, ...]:
        """Speech levels accepted under `tag` for a direction of address; None (unknown): those of every direction."""
        levels = self.style(tag).levels
        if direction is not None:
            return levels.get(direction, ())
        return tuple(dict.fromkeys(level for accepted in levels.values() for level in accepted))

    def under(self, context: str) -> "StylePack":
        """This pack; with "swapped" the one whose first tag has the rule and examples of the neutral tag, and the other way round."""
        if context != "swapped":
            return self
        first, neutral = self.styles[0], self.style(self.neutral)
        other = {first.tag: neutral, neutral.tag: first}
        told = ((style, other.get(style.tag, style)) for style in self.styles)
        return replace(self, styles=tuple(replace(style, rule=source.rule, few_shots=source.few_shots) for style, source in told))

    def teacher_system(self, style: str, is_tagged: bool = True) -> str:
        """The system prompt that only the teacher reads before a row of `style`; before a row without a tag the per_style one."""
        shown = self._shown(style, is_tagged)
        rules = [shown[0].rule] if len(shown) == 1 else [f"<style:{entry.tag}>: {entry.rule}" for entry in shown]
        shots = [(entry.tag, shot) for entry in shown for shot in entry.few_shots[: self.few_shots]] if self.examples == "system" else []
        examples = [f"{tagged(tag, shot.request)}\n→ {shot.answer}" for tag, shot in shots]
        return "\n".join(part for part in (self.intro, *rules, *examples) if part)

    def example_turns(self, style: str, is_tagged: bool = True) -> tuple[tuple[str, str], ...]:
        """(role, content) turns that only the teacher reads before the row's own: with examples="turns" the first example of
        each style that its system prompt speaks of, then the second of each, and so on. A row without a tag gets none with a tag.
        """
        shown, number = self._shown(style, is_tagged), self.few_shots if self.examples == "turns" else 0
        shots = [(entry.tag if is_tagged else None, entry.few_shots[place]) for place in range(number) for entry in shown]
        return tuple(turn for tag, shot in shots for turn in (("user", tagged(tag, shot.request)), ("assistant", shot.answer)))

    def _shown(self, style: str, is_tagged: bool) -> tuple[Style, ...]:
        """The styles that the teacher reads about before a row of `style`: its own, or all."""
        return (self.style(style),) if not is_tagged or self.teacher_prompt == "per_style" else self.styles


def read_style(tag: str, entry: Mapping[str, Any], mistakes: list[str]) -> Style:
    """One entry of styles.styles; what is wrong with it is added to `mistakes`."""
    key = f"styles.styles.{tag}"
    if not TAG.fullmatch(tag):
        mistakes.append(f"{key}: a tag has 1 to 32 of the characters a-z 0-9 _ -, so that <style:...> can hold it")
    for name in ("rule", "verdict"):
        if not str(entry.get(name) or "").strip():
            mistakes.append(f"{key}.{name}: missing")
    mistakes += [line for name in entry for line in one_of(key, name, ("rule", "verdict", "levels", "few_shots"))]
    levels = entry.get("levels") or {}
    for direction in levels:
        mistakes += one_of(f"{key}.levels", direction, DIRECTIONS)
    shots = []
    for number, shot in enumerate(entry.get("few_shots") or ()):
        if not (shot.get("request") and shot.get("answer")):
            mistakes.append(f"{key}.few_shots[{number}]: needs request and answer")
            continue
        shots.append(FewShot(request=str(shot["request"]), answer=str(shot["answer"])))
    return Style(
        tag=tag,
        rule=str(entry.get("rule") or "").strip(),
        verdict=str(entry.get("verdict") or ""),
        few_shots=tuple(shots),
        levels={direction: (accepted,) if isinstance(accepted, str) else tuple(accepted or ()) for direction, accepted in levels.items()},
    )


def one_of(key: str, value: Any, allowed: Collection[str]) -> list[str]:
    """No message where `value` is allowed; else one that names key, value, what is allowed and the nearest of it."""
    hint = did_you_mean(str(value), allowed)
    return [] if value in allowed else [f"{key}: {value!r} is not one of {', '.join(allowed)}{hint}"]
