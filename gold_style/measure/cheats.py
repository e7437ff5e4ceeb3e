"""Answerers that a measure must not reward: one constant text, and the request given back.

They are judged like a model and shown in the same table.

Example: `cheats(samples["after"], classifier, pack)` gives {"constant": [...], "copy": [...]} to pass to `run_summary`.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

from gold_style.measure.answers import Answer, Judged, judge
from gold_style.styles import StylePack, tagged
from gold_style.verdicts import Classifier

CONSTANT = "신이 삼가 아뢰옵나이다."  # said where no better text in the style of interest is at hand


def cheats(answers: Sequence[Answer], classifier: Classifier, pack: StylePack, constant: str | None = None) -> dict[str, list[Judged]]:
    """Judged answers of the trivial answerers to the requests of `answers`.

    `constant`: what the first always says; by default an answer of `answers` that is in the style of interest, so
    that the cheat is a good text of its kind, or else CONSTANT. The second gives the tagged request back.
    """
    requests = [Answer(**{field.name: getattr(answer, field.name) for field in fields(Answer)}) for answer in answers]
    if constant is None:
        good = (answer.text for answer in answers if answer.style == pack.tags[0] and classifier(answer.text) == pack.target_verdict)
        constant = next(good, CONSTANT)
    plain = {"finished": True, "num_tokens": None, "likelihood_ratio": None}
    said = {
        "constant": [replace(answer, text=constant, **plain) for answer in requests],
        "copy": [replace(answer, text=tagged(answer.style, answer.request), **plain) for answer in requests],
    }
    return {name: judge(texts, classifier, pack) for name, texts in said.items()}
