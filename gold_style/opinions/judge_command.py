"""A language model as judge of a run: `python -m gold_style.judge RUN --url http://127.0.0.1:8000/v1 --model NAME`.

Asks a language model about the answers of a run, at any OpenAI-compatible endpoint. The key is read from the environment:
GOLD_STYLE_JUDGE_API_KEY or OPENAI_API_KEY. Reads samples.jsonl and config.yaml. Writes judge.jsonl (every reply; a question
that has one is not asked again) and judge.json (rates, comparisons, agreement with our own verdicts). docs/judges.md
explains the questions and the numbers.
"""

import argparse
import json
from typing import Any

from gold_style.opinions.endpoint import Endpoint, Refused, Unanswered
from gold_style.opinions.judge import TASKS, Replies, ask_all, plan
from gold_style.opinions.judge_summary import judge_lines, judge_summary
from gold_style.opinions.rated_run import RatedRun, run_parser, whole
from gold_style.runs.files import FileLock, write_json
from gold_style.runs.redact import redact, say

CUT_OFF = {Unanswered: 1, Refused: 2, KeyboardInterrupt: 130}  # exit codes


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0; 1 where questions stay without a reply; 2 where the endpoint refuses; 130 when interrupted.

    Raises ValueError and OSError for mistakes of the user.
    """
    asked = parse(arguments)
    try:
        return judge_run(asked)
    except tuple(CUT_OFF) as error:
        kept = asked.run / "judge.jsonl"
        say(f"{str(error) or 'interrupted'}\nWhat was judged is kept in {kept}; the same command continues from there.")
        return CUT_OFF[type(error)]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = run_parser("judge", __doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--url", required=True, help="address of the endpoint, for instance http://127.0.0.1:8000/v1")
    add("--model", required=True, help="name of the judge, as the endpoint knows it")
    add("--number", type=whole(1), help="judge only this many requests, drawn at random by --seed (default: all)")
    add("--questions", nargs="+", choices=TASKS, default=list(TASKS), help="what to ask (default: everything)")
    add("--threads", type=whole(1), default=8, help="requests at a time (default: 8)")
    add("--timeout", type=seconds, default=60.0, metavar="SECONDS", help="longest wait for a reply (default: 60)")
    add("--retries", type=whole(0), default=3, help="repetitions after a timeout, a broken connection, a 429 or a 5xx (default: 3)")
    add("--max-tokens", type=whole(1), default=256, help="longest reply; a model that thinks aloud needs more (default: 256)")
    add("--body", type=json_object, default={}, metavar="JSON", help="object with more fields for each request; null removes a field")
    return parser.parse_args(arguments)


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def json_object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("not a JSON object, such as '{\"top_p\": 1}'")
    if {"messages", "model", "stream"} & found.keys():
        raise argparse.ArgumentTypeError("messages, model and stream are ours to set")
    return found


def judge_run(asked: argparse.Namespace) -> int:
    """Ask, write judge.json of what judge.jsonl holds then, also after an error, and print it."""
    run = RatedRun.read(asked.run, asked.config)
    body = {"max_tokens": asked.max_tokens, **asked.body}
    endpoint = Endpoint(asked.url, asked.model, timeout_s=asked.timeout, retries=asked.retries, body=body)
    endpoint.warn_of_clear_text()
    wanted = plan(run.samples, run.pack, asked.questions, asked.number, asked.seed)
    if not wanted.questions:
        raise ValueError(f"{run.directory / 'samples.jsonl'}: holds no answer to ask about")
    lock = FileLock(run.directory / ".judge.lock")
    lock.acquire()
    try:
        replies = Replies(run.directory / "judge.jsonl", asked.model)
        total = len({question.key(asked.model) for question in wanted.questions})
        say(f"{total} questions, {len(replies.unanswered(wanted.questions))} of them to ask {asked.model} at {endpoint.url}")
        try:
            reasons = ask_all(wanted.questions, endpoint, replies, asked.threads)
        finally:
            trained = run.config["model"] if isinstance(run.config.get("model"), dict) else {}
            summary = judge_summary(wanted, replies, run.toggle, trained)
            made = {"url": endpoint.url, "seed": asked.seed, "number": asked.number, "body": endpoint.body}
            write_json(run.directory / "judge.json", summary | {"made": redact(made)})
    finally:
        lock.release()
    print(*judge_lines(summary), sep="\n")
    if reasons:
        say(f"questions without a reply: {len(reasons)}; the last one because of {reasons[-1]}")
    print(run.directory / "judge.json")
    return 1 if reasons else 0
