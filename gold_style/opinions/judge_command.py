"""A language model as judge of a run: `python -m gold_style.judge RUN --url http://127.0.0.1:8000/v1 --model NAME`.

Any OpenAI-compatible endpoint will do. A key is read from GOLD_STYLE_JUDGE_API_KEY or OPENAI_API_KEY alone. Reads
samples.jsonl and config.yaml; writes judge.jsonl (every reply; what is there is not asked again) and judge.json (rates,
comparisons, agreement with our own verdicts). What is asked, and what the numbers mean: docs/judges.md.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gold_style.measure.rates import Toggle
from gold_style.measure.samples import samples_from
from gold_style.opinions.endpoint import KEYS, Endpoint, Refused, Unanswered, api_key
from gold_style.opinions.judge import ASKED, ask_all, open_questions, plan, read_labels
from gold_style.opinions.judge_summary import judge_summary
from gold_style.opinions.questions import run_config, run_pack
from gold_style.runs.files import FileLock, read_json_lines, write_json
from gold_style.runs.redact import redact, say
from gold_style.runs.web import is_loopback


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0; 1 where questions stay without a reply; 2 for a mistake of the user; 130 when interrupted."""
    asked = parse(arguments)
    try:
        return judge_run(asked)
    except (Refused, Unanswered) as error:
        say(f"{error}\nWhat was judged is kept in {asked.run / 'judge.jsonl'}; the same command goes on from there.")
        return 2 if isinstance(error, Refused) else 1
    except (ValueError, OSError) as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say(f"interrupted; what was judged is kept in {asked.run / 'judge.jsonl'}, the same command goes on from there")
        return 130


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gold_style.judge", description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a directory with samples.jsonl, of train.py or evaluate.py")
    add("--url", required=True, help="address of the endpoint, e.g. http://127.0.0.1:8000/v1")
    add("--model", required=True, help="name of the judge, as the endpoint knows it")
    add("--number", type=whole(1), help="judge that many requests, drawn by --seed (all)")
    add("--seed", type=int, default=0, help="of the draw (0)")
    add("--questions", nargs="+", choices=ASKED, default=list(ASKED), help="what to ask (everything)")
    add("--threads", type=whole(1), default=8, help="requests at a time (8)")
    add("--timeout", type=seconds, default=60.0, metavar="SECONDS", help="for one reply (60)")
    add("--retries", type=whole(0), default=3, help="after a timeout, a 429 or a 5xx (3)")
    add("--max-tokens", type=whole(1), default=256, help="of a reply; a model that thinks aloud needs more (256)")
    add("--body", type=mapping, default={}, metavar="JSON", help="more fields of a request; null takes one out")
    add("--config", type=Path, metavar="FILE", help="config.yaml to take the styles from (the run's)")
    return parser.parse_args(arguments)


def whole(least: int):
    """A parser of whole numbers from `least` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= {least}")
        return int(text)

    return number


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def mapping(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("not a JSON object, such as '{\"top_p\": 1}'")
    if {"messages", "model", "stream"} & found.keys():
        raise argparse.ArgumentTypeError("messages, model and stream are ours to set")
    return found


def judge_run(asked: argparse.Namespace) -> int:
    """Ask, write judge.json, print what it says. Raises ValueError for the user's mistakes."""
    run = asked.run
    if not (run / "samples.jsonl").is_file():
        raise ValueError(f"{run}: no samples.jsonl in it; name the directory of a finished run")
    config = run_config(run, asked.config)
    pack, samples = run_pack(config), samples_from(read_json_lines(run / "samples.jsonl"), run / "samples.jsonl")
    toggle = Toggle.from_pack(pack)
    endpoint = Endpoint(
        asked.url, asked.model, timeout_s=asked.timeout, retries=asked.retries, max_tokens=asked.max_tokens, body=asked.body
    )
    warn_of_clear_text(endpoint.url)
    wanted = plan(samples, pack, asked.questions, asked.number, asked.seed)
    if not wanted.questions:
        raise ValueError(f"{run / 'samples.jsonl'}: holds no answer to ask about")
    lock = FileLock(run / ".judge.lock")
    lock.acquire()
    try:
        total = len(open_questions(wanted.questions, asked.model, {}))
        left = len(open_questions(wanted.questions, asked.model, read_labels(run / "judge.jsonl")))
        say(f"{total} questions, {left} of them to ask {asked.model} at {endpoint.url}")
        _, reasons = ask_all(wanted.questions, endpoint, run / "judge.jsonl", asked.threads, progress)
    finally:
        try:
            summary = written(run, wanted, toggle, asked, endpoint, config)
        finally:
            lock.release()
    for line in (*printed(summary), *(f"warning: {text}" for text in summary["warnings"])):
        print(line)
    if reasons:
        say(f"questions without a reply: {len(reasons)}; the last one because of {reasons[-1]}")
    print(run / "judge.json")
    return 1 if reasons else 0


def written(run: Path, wanted, toggle: Toggle, asked: argparse.Namespace, endpoint: Endpoint, config: dict) -> dict:
    """judge.json of what judge.jsonl holds so far, also after an error."""
    model = config.get("model") if isinstance(config.get("model"), dict) else {}
    summary = judge_summary(
        wanted, read_labels(run / "judge.jsonl"), toggle, judge=asked.model, teacher=model.get("teacher"), student=model.get("student")
    )
    made = {"url": endpoint.url, "seed": asked.seed, "number": asked.number, "body": endpoint.body}
    write_json(run / "judge.json", summary | {"made": redact(made)})
    return summary


def warn_of_clear_text(url: str) -> None:
    """Say it where a key would be readable on the way."""
    name, key = api_key(url)
    if key and not url.startswith("https:") and not is_loopback(url):
        say(f"warning: the key in {name} goes to {urlsplit(url).hostname} unencrypted (http)")
    elif not key and os.environ.get(KEYS[1]):
        say(f"warning: {KEYS[1]} is not sent over http to another machine; if it is meant to be, set {KEYS[0]}")


def progress(done: int, total: int) -> None:
    """A line every tenth of the way."""
    if done == total or done % max(1, total // 10) == 0:
        say(f"{done} of {total} judged")


def printed(summary: dict[str, Any]) -> list[str]:
    """judge.json in lines of at most 120 columns."""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    lines = []
    for model, tags in summary["rates"].items():
        if any("style" in kinds for kinds in tags.values()):
            rates = summary["toggle"][model]
            lines.append(f"{model}: " + ", ".join(f"{name} {share(value)}" for name, value in rates.items()))
        for tag, kinds in tags.items():
            for kind, count in kinds.items():
                rates = ", ".join(f"{label} {share(rate)}" for label, rate in count["rates"].items()) or "–"
                lines.append(f"  {tag:9} {kind:8} {rates}  (judged {count['judged']}, failed {count['failed']})")
    for pair, tags in summary["comparisons"].items():
        for tag, count in tags.items():
            rates = ", ".join(f"{name} {share(rate)}" for name, rate in count["rates"].items()) or "–"
            number = f"(judged {count['judged']}, failed {count['failed']})"
            lines.append(f"{pair.replace('_', ' or ')}, {tag}: {rates}  {number}")
    for kind, found in summary["agreement"].items():
        alpha = f"alpha {share(found['alpha'])}, equal {share(found['equal'])}"
        lines.append(f"agreement with our own verdicts, {kind}: {alpha} of {found['units']}")
    if summary["position"]["choices"]:
        chosen, choices = summary["position"]["share_of_a"], summary["position"]["choices"]
        lines.append(f"A chosen in {share(chosen)} of {choices} choices (0.5: the order does not matter)")
    return lines
