"""Ask people: `python -m gold_style.annotate RUN` writes a blind sheet, `... RUN --read FILE [FILE ...]` reads it back.

The sheet is one HTML page, and a CSV beside it for those who prefer a spreadsheet; annotation_key.json, which knows
whose answer each item is, stays in the run's directory. Reading writes annotations.json there: rates per model and
tag, agreement between raters and with our own verdicts (docs/judges.md).
"""

import argparse
from pathlib import Path
from typing import Any

from gold_style.measure.rates import Toggle
from gold_style.measure.samples import Samples, samples_from
from gold_style.opinions.filled_sheets import read_sheets
from gold_style.opinions.questions import run_config, run_pack, style_labels
from gold_style.opinions.sheet_page import sheet_csv, sheet_html
from gold_style.opinions.sheets import KEY_FILE, annotation_summary, draw_sheet
from gold_style.runs.files import read_json, read_json_lines, write_json, write_text
from gold_style.runs.redact import say
from gold_style.styles import StylePack

NUMBER = 120  # answers on a sheet: about an hour


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 for a mistake of the user, each named on a line."""
    asked = parse(arguments)
    try:
        samples_path = asked.run / "samples.jsonl"
        if not samples_path.is_file():
            raise ValueError(f"{asked.run}: no samples.jsonl in it; name the directory of a finished run")
        pack, samples = run_pack(run_config(asked.run, asked.config)), samples_from(read_json_lines(samples_path), samples_path)
        if asked.read:
            read(asked.run, asked.read, pack, samples)
        else:
            write(asked.run, asked.output or asked.run / "annotation.html", pack, samples, asked.number, asked.seed)
    except (ValueError, OSError) as error:
        say(str(error))
        return 2
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gold_style.annotate", description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a directory with samples.jsonl, of train.py or evaluate.py")
    add("--output", type=Path, metavar="FILE", help="the page (RUN/annotation.html); the CSV stands beside it")
    add("--number", type=int, default=NUMBER, help=f"answers on the sheet ({NUMBER})")
    add("--seed", type=int, default=0, help="of the draw and the order (0)")
    add("--config", type=Path, metavar="FILE", help="config.yaml to take the styles from (the run's)")
    add("--read", nargs="+", type=Path, metavar="FILE", help="filled sheets, JSON or CSV, one per rater")
    asked = parser.parse_args(arguments)
    if asked.number < 1:
        parser.error(f"argument --number: {asked.number} is not a whole number >= 1")
    if asked.output and asked.output.suffix.lower() not in (".html", ".htm"):
        parser.error(f"argument --output: {asked.output} does not end in .html")
    return asked


def read_key(run: Path) -> dict[str, Any]:
    """annotation_key.json; no sheets where there is none. Raises ValueError for one that cannot be read."""
    path = run / KEY_FILE
    if not path.exists():
        return {"sheets": {}}
    key = read_json(path)
    if not key or not isinstance(key.get("sheets"), dict):
        raise ValueError(f"{path}:1: cannot be read as the key of annotation sheets")
    return key


def write(run: Path, output: Path, pack: StylePack, samples: Samples, number: int, seed: int) -> None:
    """Write page, CSV and key, and print the paths. Earlier sheets keep their place in the key."""
    sheet, labels, key = draw_sheet(samples, pack, number, seed), style_labels(pack), read_key(run)
    key["sheets"][sheet.name] = sheet.key()
    write_json(run / KEY_FILE, key)  # first: a sheet without its key is lost work
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, sheet_html(sheet, labels))
    write_text(output.with_suffix(".csv"), sheet_csv(sheet, labels))
    if len(sheet.items) < number:
        say(f"only {len(sheet.items)} different answers stand in samples.jsonl, {number} were asked for")
    say(f"{len(sheet.items)} answers; give raters one of these files, and keep {run / KEY_FILE} to yourself:")
    print(output)
    print(output.with_suffix(".csv"))


def read(run: Path, files: list[Path], pack: StylePack, samples: Samples) -> None:
    """Write annotations.json and print what it says. Raises ValueError with every mistake in the files."""
    key = read_key(run)
    if not key["sheets"]:
        raise ValueError(f"{run / KEY_FILE}: not there, and only it knows whose answers the sheets show")
    ratings = read_sheets(files, key["sheets"], style_labels(pack))
    summary = annotation_summary(ratings, key, samples, Toggle.from_pack(pack))
    write_json(run / "annotations.json", summary | {"files": [str(path) for path in files]})
    for line in printed(summary):
        print(line)
    print(run / "annotations.json")


def printed(summary: dict[str, Any]) -> list[str]:
    """annotations.json in lines."""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    lines = [f"{len(summary['raters'])} raters, {summary['items']} items"]
    for model, tags in summary["rates"].items():
        lines.append(f"{model}: " + ", ".join(f"{name} {share(v)}" for name, v in summary["toggle"][model].items()))
        for tag, part in tags.items():
            interval = part["style_interval"]
            limits = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
            asked = f"asked style {share(part['style_rate'])}{limits}, content {share(part['content'])}"
            lines.append(f"  {tag:9} {asked}, fluency {share(part['fluency'])} of 5  ({part['items']} answers)")
    alphas = ", ".join(f"{name} {share(alpha)}" for name, alpha in summary["between_raters"].items())
    lines.append(f"agreement between raters (alpha): {alphas}")
    for question, found in summary["with_own_verdicts"].items():
        alpha = f"alpha {share(found['alpha'])}, equal {share(found['equal'])}"
        lines.append(f"agreement with our own verdicts, {question}: {alpha} of {found['units']}")
    return lines + [f"warning: {text}" for text in summary["warnings"]]
