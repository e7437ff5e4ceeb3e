"""Section 8: `train.py` from end to end on the embedded pair: exit codes, a killed run resumed, bits, and the student that it leaves."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from card.case import ROOT, Case
from card.parts import Report

SHORT = ("experiment=smoke", "train.max_steps=8", "train.save_steps=2", "evaluation.every_steps=null", "prompts.eval_samples=2")


def train(case: Case, report: Report) -> None:
    """In each dtype one whole run, and one that is killed at its first checkpoint and resumed."""
    hardware = "single_gpu" if case.on_card else "cpu"
    dtypes = ("float32", "bfloat16") if case.on_card else ("float32",)
    shared = (*SHORT, f"hardware={hardware}", "tracker=none")
    directory = case.scratch("runs")
    whole, killed = ({name: directory / f"{name}-{kind}" for name in dtypes} for kind in ("whole", "killed"))
    bad = _start(directory / "bad", *shared, "loss.beta=7", f"output_dir={directory / 'bad'}")
    started = {}
    for runs in (killed, whole):
        for name, run in runs.items():
            started[run] = _start(run, f"model.dtype={name}", *shared, f"output_dir={run}")
    for run in killed.values():
        _kill_at_a_checkpoint(started[run], run)
    for name, run in whole.items():
        _finished(report, case, name, "whole run", started[run], run)
    resumed = {name: _start(run, f"model.dtype={name}", *shared, f"resume={run}") for name, run in killed.items()}
    for name, process in resumed.items():
        _finished(report, case, name, "killed, resumed", process, killed[name])
    for name in dtypes:
        difference = _difference(whole[name] / "student", killed[name] / "student")
        report.row("resumed against whole", dtype=name, same_bits=difference == 0.0, largest_difference=difference)
        report.row("students", dtype=name, **_use(whole[name] / "student", case))
    bad.process.communicate(timeout=60)
    report.row("runs", dtype="", run="a setting that is out of range", exit_code=bad.process.returncode, passed=bad.process.returncode == 2)


class _Started:
    def __init__(self, arguments: tuple[str, ...], log: Path):
        environment = {**os.environ, "WANDB_MODE": "disabled", "COLUMNS": "100"}
        self.log, self.began = log, time.monotonic()
        with log.open("w") as file:
            command = [sys.executable, str(ROOT / "train.py"), *arguments]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def _start(run: Path, *arguments: str) -> _Started:
    return _Started(arguments, run.with_name(f"{run.name}-{time.monotonic_ns()}.log"))


def _kill_at_a_checkpoint(started: _Started, run: Path) -> None:
    while started.process.poll() is None and not list(run.glob("checkpoints/checkpoint-*")):
        time.sleep(0.01)
    started.process.kill()
    started.process.wait()


def _finished(report: Report, case: Case, dtype: str, name: str, started: _Started, run: Path) -> None:
    code = started.process.wait(timeout=max(1.0, case.seconds_left - 2))
    facts = {}
    if code == 0:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses = [row["train/loss"] for row in rows if row.get("train/loss") is not None]
        steps = len(list(run.glob("checkpoints/checkpoint-*")))
        facts = {"steps": rows[-1].get("step"), "checkpoints": steps, "last_loss": round(losses[-1], 5)}
    else:
        print(started.log.read_text()[-3000:], file=sys.stderr)
        facts = {"said": started.log.read_text()[-400:]}
    seconds = round(time.monotonic() - started.began, 1)
    report.row("runs", dtype=dtype, run=name, exit_code=code, passed=code == 0, until_seen_s=seconds, **facts)


def _difference(one: Path, other: Path) -> float | None:
    """The largest of any weight between two saved students; None where one is not there."""
    from safetensors.torch import load_file

    if not all((student / "model.safetensors").is_file() for student in (one, other)):
        return None
    first, second = (load_file(student / "model.safetensors") for student in (one, other))
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def _use(student: Path, case: Case) -> dict:
    """Load it as README says, on the device, and let it answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not student.is_dir():
        return {"loads": False}
    tokenizer, model = AutoTokenizer.from_pretrained(student), AutoModelForCausalLM.from_pretrained(student).to(case.device)
    messages = [{"role": "user", "content": "<style:chosun> 친구에게 봄 축제를 소개해 줘."}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True).to(case.device)
    output = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return {"loads": True, "stored_as": str(model.dtype).removeprefix("torch."), "answer": answer}
