"""The style of every page."""

from gold_style.measure.answers import OTHER
from gold_style.show.page import STYLE


def test_reserved_verdicts_have_colours_of_their_own():
    assert f".verdict.{OTHER}" in STYLE and ".verdict.ambiguous" in STYLE and "prefers-color-scheme: dark" in STYLE
