"""The sheet that human raters fill in: one HTML file that asks nothing of the network, and the same as CSV.

Both are blind: no tag, no model, no name of the run. In the CSV, a cell that a spreadsheet would take for a formula
begins with an apostrophe: answers are a model's, and must not compute anything on a rater's machine.

Example: `write_text(path, sheet_html(sheet, style_labels(pack)))`.
"""

import csv
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from gold_style.opinions.questions import CONTENT, Label, shown
from gold_style.opinions.sheets import QUESTIONS, Item, Sheet
from gold_style.show.page import page

SCRIPT = Path(__file__).with_name("sheet_page.js").read_text(encoding="utf-8")
FORMULA = tuple("=+-@＝＋－＠\t\r")
FLUENCY = ("1 통하지 않음", "2", "3", "4", "5 매우 자연스러움")
GUIDE = (
    "아래 글은 요청에 대한 답변들입니다. 글마다 세 가지를 따로 판단해 주세요. 하나의 판단이 다른 판단에 영향을 주지 않도록 해 주세요.",
    "말투: 소재나 낱말이 아니라 문장을 맺는 방식을 봅니다. 마지막 문장이 중간에 끊겼다면 그 문장은 빼고 봅니다.",
    "내용: 말투와 상관없이, 요청한 내용에 맞게 답했는지 봅니다.",
    "자연스러움: 그 말투의 글로서 얼마나 매끄럽게 읽히는지 1~5로 매깁니다.",
    "고를 때마다 이 브라우저에 남으므로 나중에 이어서 할 수 있습니다. 다 되면 저장을 눌러 파일을 보내 주세요.",
)
CSS = """
fieldset.item { border: 1px solid var(--rule); border-radius: 8px; background: var(--card); margin: 1rem 0;
  padding: .7rem .9rem }
fieldset.item.done { border-color: var(--c2) }
fieldset.item fieldset { border: 0; margin: .3rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem }
fieldset.item fieldset legend { float: left; min-width: 6rem; color: var(--soft) }
.text { white-space: pre-wrap; font-size: 1.05rem }
.bar { position: sticky; bottom: 0; background: var(--page); border-top: 1px solid var(--rule); padding: .6rem 0;
  display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center }
.bar input, .bar button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--rule);
  border-radius: 6px; padding: .3rem .8rem }
"""


def sheet_html(sheet: Sheet, styles: Sequence[Label]) -> str:
    """The page; `styles`: labels of the style question."""
    guide = "".join(f"<p>{escape(line)}</p>" for line in GUIDE)
    meanings = "".join(f"<li><b>{escape(label.word)}</b>: {escape(label.meaning)}</li>" for label in styles)
    items = "".join(item_html(item, styles) for item in sheet.items)
    bar = (
        '<div class="bar"><label>평가자 <input id="rater" autocomplete="off"></label><b id="progress"></b>'
        '<button id="save" type="button">저장</button><span id="said" role="status"></span>'
        '<span id="kept" class="soft"></span></div>'
    )
    body = f'<main class="sheet" lang="ko" data-sheet="{escape(sheet.name)}"><h1>글 평가</h1>{guide}<ul>{meanings}</ul>'
    return page("글 평가", [f"<style>{CSS}</style>", f"{body}{items}{bar}</main>"], SCRIPT, "ko")


def item_html(item: Item, styles: Sequence[Label]) -> str:
    """One answer with its three questions."""
    text = escape(shown(item.text)) if item.text.strip() else '<span class="soft">(빈 글)</span>'
    asked = [
        choices(item, "style", "말투", [(label.name, label.word) for label in styles]),
        choices(item, "content", "내용", [(label.name, label.word) for label in CONTENT]),
        choices(item, "fluency", "자연스러움", [(word[0], word) for word in FLUENCY]),
    ]
    return (
        f'<fieldset class="item" data-item="{item.number}"><legend>{item.number}</legend>'
        f'<p class="soft">요청: {escape(shown(item.request))}</p><p class="text">{text}</p>{"".join(asked)}</fieldset>'
    )


def choices(item: Item, question: str, heading: str, values: Sequence[tuple[str, str]]) -> str:
    """A question with one button per value."""
    buttons = "".join(
        f'<label><input type="radio" name="{question}-{item.number}" data-question="{question}" '
        f'value="{escape(value)}"> {escape(word)}</label>'
        for value, word in values
    )
    return f"<fieldset><legend>{heading}</legend>{buttons}</fieldset>"


def sheet_csv(sheet: Sheet, styles: Sequence[Label]) -> str:
    """The same for a spreadsheet: three empty columns, their allowed values in the heading. Begins with a BOM."""
    names = {"style": [label.name for label in styles], "content": [label.name for label in CONTENT]}
    allowed = {**names, "fluency": list("12345")}
    output = io.StringIO(newline="")
    writer = csv.writer(output)
    writer.writerow(["item", "request", "answer", *(f"{name} ({' | '.join(allowed[name])})" for name in QUESTIONS)])
    for item in sheet.items:
        texts = [harmless(shown(text)) for text in (item.request, item.text)]
        writer.writerow([f"{sheet.name}-{item.number}", *texts, "", "", ""])
    return "\ufeff" + output.getvalue()


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text
