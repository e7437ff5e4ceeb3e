"""Accuracy of `gold_style.speech` on the labelled sentences of data/speech_levels.jsonl, beside keyword lists; and that of the
pack conf/styles/bard.yaml on the English ones of data/bard_sentences.jsonl.

    python -m benchmarks.speech_accuracy                     writes docs/speech_accuracy.md
    python -m benchmarks.speech_accuracy --backends rules    without the extra gold-style[kiwi]

A keyword list is what a first attempt looks like: Joseon if a word of period drama occurs anywhere in the text.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402

from gold_style.speech import BACKENDS, VERDICTS, classify  # noqa: E402  (runs without an installed package too)
from gold_style.styles import StylePack  # noqa: E402
from gold_style.verdicts import classifier_of  # noqa: E402

DATA = ROOT / "data" / "speech_levels.jsonl"
ENGLISH = ROOT / "data" / "bard_sentences.jsonl"
RESULTS = ROOT / "docs" / "speech_accuracy.md"
OLD_WORDS = ("아뢰", "옵니다", "하소서", "소신")
NEW_WORDS = ("요", "하세요", "입니다")

Row = dict[str, str | None]


def two_lists(text: str) -> str:
    """Baseline: a word of either list anywhere in the text decides, the Joseon list first."""
    if any(word in text for word in OLD_WORDS):
        return "joseon"
    return "modern" if any(word in text for word in NEW_WORDS) else "ambiguous"


def one_list(text: str) -> str:
    """Baseline that always decides: whatever holds no Joseon word is modern."""
    return "joseon" if any(word in text for word in OLD_WORDS) else "modern"


def read_rows(path: Path = DATA) -> list[Row]:
    """Labelled rows: text, verdict, level, trap (None where nothing lies in wait), split."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def headline(rows: Sequence[Row], verdicts: Sequence[str]) -> str:
    """One table row: share decided, accuracy among decided, false Joseon on modern, Joseon on garbage."""
    pairs = [(row["verdict"], verdict) for row, verdict in zip(rows, verdicts, strict=True)]
    styled = [pair for pair in pairs if pair[0] in ("joseon", "modern")]
    decided = [pair for pair in styled if pair[1] in ("joseon", "modern")]
    right = sum(label == verdict for label, verdict in decided)
    modern = [verdict for label, verdict in pairs if label == "modern"]
    garbage = [verdict for label, verdict in pairs if label == "other"]
    return (
        f"{len(rows)} | {len(decided) / len(styled):.3f} | {right / len(decided):.3f} | "
        f"{modern.count('joseon')} / {len(modern)} | {garbage.count('joseon')} / {len(garbage)}"
    )


def per_class(rows: Sequence[Row], verdicts: Sequence[str]) -> list[str]:
    """Precision, recall and count of each verdict, as table rows."""
    pairs = Counter((row["verdict"], verdict) for row, verdict in zip(rows, verdicts, strict=True))
    lines = []
    for label in VERDICTS:
        hits = pairs[label, label]
        given = sum(count for (_, verdict), count in pairs.items() if verdict == label)
        there = sum(count for (truth, _), count in pairs.items() if truth == label)
        lines.append(f"{label} | {share(hits, given)} | {share(hits, there)} | {there}")
    return lines


def per_level(rows: Sequence[Row], verdicts: Sequence[str]) -> list[str]:
    """Recall of the verdict by labelled speech level, as table rows."""
    levels = list(dict.fromkeys(row["level"] for row in rows if row["level"] and row["verdict"] != "ambiguous"))
    lines = []
    for level in levels:
        found = [row["verdict"] == v for row, v in zip(rows, verdicts, strict=True) if row["level"] == level]
        lines.append(f"{level} | {share(sum(found), len(found))} | {len(found)}")
    return lines


def per_trap(rows: Sequence[Row], columns: dict[str, list[str]]) -> list[str]:
    """Errors of every column by trap, as table rows; a row left ambiguous counts as an error."""
    lines = []
    for trap in sorted({row["trap"] for row in rows if row["trap"]}):
        where = [index for index, row in enumerate(rows) if row["trap"] == trap]
        errors = [sum(verdicts[i] != rows[i]["verdict"] for i in where) for verdicts in columns.values()]
        lines.append(f"{trap} | {len(where)} | " + " | ".join(map(str, errors)))
    return lines


def one_english_list(text: str) -> str:
    """Baseline: bard if a word of Shakespeare's English is anywhere in the text."""
    return "bard" if {"thou", "thee", "thy", "thine", "doth", "hath", "tis"} & set(re.findall(r"\w+", text.lower())) else "modern"


def english(rows: Sequence[Row]) -> list[str]:
    """The part of the results file about the English pack."""
    pack = yaml.safe_load((ROOT / "conf/styles/bard.yaml").read_text(encoding="utf-8"))
    bard = classifier_of(StylePack.from_settings({**pack, "few_shots": 0}))
    columns = {name: [judge(str(row["text"])) for row in rows] for name, judge in (("word list", one_english_list), ("bard", bard))}
    lines = []
    for split in ("unseen", "test", "development"):
        chosen = [index for index, row in enumerate(rows) if row["split"] == split]
        for name, verdicts in columns.items():
            pairs = Counter((rows[index]["verdict"], verdicts[index]) for index in chosen)
            right = sum(count for (label, verdict), count in pairs.items() if label == verdict)
            labels = [f"{pairs[label, 'bard']} / {sum(pairs[label, given] for given in bard.labels)}" for label in ("modern", "other")]
            lines.append(f"{split} | {name} | {len(chosen)} | {share(right, len(chosen))} | {' | '.join(labels)}")
    return [
        "## English: the pack `bard`",
        "*word list*: bard if the text has one of thou thee thy thine doth hath 'tis. *bard*: the groups of words and endings of "
        "`conf/styles/bard.yaml`. Accuracy is over all texts.",
        "*unseen* is the figure of record: a writer who had seen no list wrote these texts after the lists' last change, and no list was "
        "changed for them. Many of the bard texts that are missed have no old word or form at all. The other two splits are no estimate "
        "for other text: the lists were changed after somebody had read them, and most development texts were made to find their limits.",
        table("texts | classifier | number | accuracy | modern called bard | other called bard", lines),
        table("trap | texts | " + " | ".join(columns), per_trap(rows, columns)),
    ]


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def table(head: str, lines: Sequence[str]) -> str:
    ruler = " | ".join("---" for _ in head.split("|"))
    return "\n".join(f"| {line} |" for line in [head, ruler, *lines])


def report(rows: Sequence[Row], backends: Sequence[str]) -> str:
    """The Markdown of the results file."""
    classifiers: dict[str, Callable[[str], str]] = {"two word lists": two_lists, "one word list": one_list}
    for backend in backends:
        classifiers[backend] = lambda text, backend=backend: classify(text, backend).verdict
    columns = {name: [judge(str(row["text"])) for row in rows] for name, judge in classifiers.items()}
    parts = [
        "# Speech levels: results",
        "Written by `python -m benchmarks.speech_accuracy`. `data/README.md` explains the texts, the splits and the traps.",
        "The classifiers:",
        f"- *two word lists*: Joseon if the text has one of {' '.join(OLD_WORDS)}, modern if it has one of {' '.join(NEW_WORDS)}, "
        "else ambiguous\n"
        "- *one word list*: Joseon by the same words, else modern\n"
        "- *rules*, *kiwi*: `gold_style.speech`, without and with the morphemes of kiwipiepy",
        "*decided* is the share of texts labelled Joseon or modern that get one of these two verdicts, *accuracy* the share of correct "
        "verdicts among them. *Garbage* are the texts labelled other.",
    ]
    for split, title in (("held_out", "Held out (never tuned on)"), ("development", "Development (tuned on: no estimate)")):
        chosen = [index for index, row in enumerate(rows) if row["split"] == split]
        subset = [rows[index] for index in chosen]
        picked = {name: [verdicts[index] for index in chosen] for name, verdicts in columns.items()}
        lines = [f"{name} | {headline(subset, verdicts)}" for name, verdicts in picked.items()]
        head = "classifier | texts | decided | accuracy | modern called Joseon | garbage called Joseon"
        parts += [f"## {title}", table(head, lines)]
        for name, verdicts in picked.items():
            parts += [f"### {name}, per verdict", table("verdict | precision | recall | texts", per_class(subset, verdicts))]
    for backend in backends:
        parts += [f"## Recall per speech level, all texts, {backend}", table("level | recall | texts", per_level(rows, columns[backend]))]
    parts += [
        "## Errors per trap, all texts",
        table("trap | texts | " + " | ".join(columns), per_trap(rows, columns)),
        "## Speed",
        table("backend | sentences a minute, one core", [f"{b} | {speed(rows, b):,.0f}" for b in backends]),
        f"Processor time on {platform.machine()}, Python {platform.python_version()}; loading a model is not counted.",
        *english(read_rows(ENGLISH)),
    ]
    return "\n\n".join(parts) + "\n"


def speed(rows: Sequence[Row], backend: str) -> float:
    """Sentences classified per minute of processor time, on the single-sentence rows; the model is loaded before."""
    texts = [str(row["text"]) for row in rows if row["verdict"] != "other" and row["trap"] != "answer"]
    classify(texts[0], backend)
    start = time.process_time()
    for text in texts:
        classify(text, backend)
    return 60 * len(texts) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to write (default: %(default)s)")
    arguments = parser.parse_args()
    text = report(read_rows(), arguments.backends)
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
