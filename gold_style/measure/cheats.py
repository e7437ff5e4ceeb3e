"""Answerers that a measure must not reward: one constant text, and the request given back.

They are judged like a model and shown in the same table.

Example: `cheats(samples["after"], classifier, pack)` gives {"constant": [...], "copy": [...]} to pass to `run_summary`.
"""

from collections.abc import Sequence
from dataclasses import replace

from gold_style.measure.answers import Answer, Judged, judge
from gold_style.styles import StylePack, tagged
from gold_style.verdicts import Classifier

CONSTANT = "신이 삼가 아뢰옵나이다."  # said where no better text in the style of interest is at hand


def cheats(answers: Sequence[Answer], classifier: Classifier, pack: StylePack) -> dict[str, list[Judged]]:
    """Judged answers of the trivial answerers to the requests of `answers`.

    The first always says an answer of `answers` that is in the style of interest, so that the cheat is a good text of its kind, or
    else CONSTANT. The second gives the tagged request back.
    """
    good = (answer.text for answer in answers if answer.style == pack.tags[0] and classifier(answer.text) == pack.target_verdict)
    constant = next(good, CONSTANT)

    def judged(text_of) -> list[Judged]:
        said = [replace(answer, text=text_of(answer), finished=True, num_tokens=None, likelihood_ratio=None) for answer in answers]
        return judge(said, classifier, pack)

    return {"constant": judged(lambda answer: constant), "copy": judged(lambda answer: tagged(answer.style, answer.request))}
