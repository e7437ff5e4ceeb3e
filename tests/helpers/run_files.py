"""Run directories as a run leaves them, with made-up answers: what report and compare are tested on."""

from pathlib import Path
from random import Random

import yaml

from gold_style.measure.answers import Judged
from gold_style.measure.rates import Toggle
from gold_style.measure.samples import Samples, sample_rows, samples_from
from gold_style.measure.summary import run_summary
from gold_style.runs.files import read_json_lines, write_json, write_json_lines

TOGGLE = Toggle(first="chosun", neutral="none", target="joseon", verdicts={"chosun": "joseon", "none": "modern"})
READING = {  # a row of readings.jsonl
    "style": "chosun",
    "request": "달을 알려 줘.",
    "student_reads": "<|user|><style:chosun> 달을 알려 줘.",
    "teacher_reads": "<|system|>조선 말투로 답하라.<|user|><style:chosun> 달을 알려 줘.",
    "tokens": [["달은 ", 0.0, "달은 "], ["밝", 1.5, "높"], ["소.", 9.0, "사옵니다."]],
}
TEXTS = {"joseon": "{} 일을 삼가 아뢰옵니다.", "modern": "{} 소식을 알려 드려요.", "other": "", "ambiguous": "{}라네"}


def answer(number: int, tag: str | None, verdict: str, **changes) -> Judged:
    """A judged answer; every field can be changed."""
    topic = f"나비{number}"
    values = {
        "id": number,
        "style": tag,
        "request": f"임금님께 {topic} 소식을 알려 줘.",
        "topic": topic,
        "direction": ("up", "equal", "down")[number % 3],
        "era": ("modern", "joseon")[number % 2],
        "verdict": verdict,
        "text": TEXTS.get(verdict, "{}").format(topic),
        "strict": verdict,
        "level": "하소서체" if verdict == "joseon" else "해요체",
        "degenerate": verdict == "other",
        "copied": False,
        "content": verdict != "other",
        "accepted_level": None,
        "finished": True,
        "num_tokens": 12,
    }
    return Judged(**{**values, **changes})


def answers(chosun_rate: float, leakage: float, requests: int = 64, seed: int = 0) -> list[Judged]:
    """Answers under both tags whose rates are close to those asked for."""
    rng = Random(f"{chosun_rate} {leakage} {seed}")
    rates = {"chosun": chosun_rate, "none": leakage}
    return [answer(number, tag, "joseon" if rng.random() < rate else "modern") for number in range(requests) for tag, rate in rates.items()]


def read_samples(run: Path) -> Samples:
    """The judged answers in a run's samples.jsonl."""
    return samples_from(read_json_lines(run / "samples.jsonl"), run / "samples.jsonl")


def summary_again(run: Path, summary: dict) -> dict:
    """`summary` computed again from a run's samples.jsonl; the cheats, which leave no samples, are taken over."""
    details = summary["details"]
    again = run_summary(
        read_samples(run),
        Toggle(**details["toggle"]),
        **{name: summary[name] for name in ("steps", "train_seconds", "status")},
        **{name: details[name] for name in ("bootstrap_samples", "confidence")},
    )
    return {**again, "details": {**details, **again["details"], "cheats": details["cheats"]}}


def metrics(margin: float, steps: int, every: int = 10) -> list[dict]:
    """Rows in which the margin rises to `margin` over `steps`."""
    rows = []
    for step in range(1, steps + 1):
        row = {"step": step, "train/loss": 2.0 / step, "train/grad_norm": 1.0, "perf/tokens": 500 * step, "perf/seconds": 0.4 * step}
        if step % every == 0:
            row |= {"style/chosun_rate": margin * step / steps, "style/leakage": 0.0, "style/margin": margin * step / steps}
        rows.append(row)
    return rows


def write_run(
    directory: Path,
    *,
    config: dict | None = None,
    status: str = "completed",
    after: tuple[float, float] = (0.95, 0.02),
    requests: int = 64,
    steps: int = 40,
    seed: int = 0,
    bootstrap_samples: int = 200,
    **run,
) -> Path:
    """A run directory; a run that is not completed has neither samples nor summary."""
    directory.mkdir(parents=True)
    config = {"seed": seed, "output_dir": str(directory), "loss": {"beta": 0.3, "lmbda": 1.0}, **(config or {})}
    (directory / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    write_json(
        directory / "run.json", {"status": status, "seed": seed, "command": "train.py", "started": "2026-11-22T10:00:00+00:00", **run}
    )
    write_json_lines(directory / "metrics.jsonl", metrics(after[0] - after[1], steps))
    if status == "completed":
        samples = {
            "before": answers(0.0, 0.0, requests),
            "after": answers(*after, requests, seed),
            "teacher": answers(0.98, 0.01, requests),
        }
        write_json_lines(directory / "samples.jsonl", sample_rows(samples))
        summary = run_summary(samples, TOGGLE, steps=steps, train_seconds=0.4 * steps, status=status, bootstrap_samples=bootstrap_samples)
        write_json(directory / "summary.json", summary)
    return directory
