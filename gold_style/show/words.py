"""What tables, pages and the end of a run say, in the reader's language: texts.yaml has the Korean of it.

word("student after", "ko")     # 학습 후 학생; what has no translation stays English
both("Curves")                  # in both, for a page whose reader chooses
"""

import os
import re
from html import escape
from pathlib import Path

import yaml

TEXTS = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
KOREAN = [(re.compile(pattern), korean) for pattern, korean in TEXTS["korean"].items()]


def language() -> str:
    """ "ko" or "en": GOLD_STYLE_LANG, else the language of the locale; English where that is another one."""
    named = map(os.environ.get, ("GOLD_STYLE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    return "ko" if next(filter(None, named), "").lower().startswith("ko") else "en"


def word(text: str, lang: str) -> str:
    """An English text in `lang`: every part that a pattern of texts.yaml finds is replaced."""
    for pattern, korean in KOREAN if lang == "ko" else ():
        text = pattern.sub(korean, text)
    return text


def both(english: str, korean: str | None = None, tag: str = "span") -> str:
    """A text in both languages in elements of which chart.css shows one; without Korean the English one for all."""
    korean = word(english, "ko") if korean is None else korean
    if korean == english:
        return escape(english)
    return f'<{tag} class="en">{escape(english)}</{tag}><{tag} class="ko" lang="ko">{escape(korean)}</{tag}>'
