"""SIGKILL in every phase of a run, again and again, resumed each time; at the end nothing may differ.

A trial is one config and a chain of phases: the run is killed in each of them in turn and resumed in place, then finished.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gold_style.runs.checkpoints import checkpoint_fault, checkpoints_in, newest_valid_checkpoint, step_of, tidy
from gold_style.runs.run_directory import status_of
from tests.helpers.commands import environment
from tests.runs.test_checkpoints import SEALS_FOR_EVER
from tests.torture.runs import TINY, Result, clock, differences, faults_of_remains, good_steps, launch, make_plan

ROW = {"chosun": "%s의 일을 삼가 아뢰옵니다.", "none": "%s 소식을 전해 드려요."}
NOUNS = "봄 비 산 달 별 강 꽃 길 집 책 옷 밥 차 말 소 닭 배 섬 눈 불 콩 팥 벼 밀".split()


def write_rows(path: Path) -> None:
    """A data set of two dozen rows with answers, under both tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, noun in enumerate(NOUNS):
        tag = ("chosun", "none")[number % 2]
        turns = ("user", f"<style:{tag}> {noun} 이야기를 들려줘."), ("assistant", ROW[tag] % noun)
        messages = [{"role": role, "content": content} for role, content in turns]
        lines.append(json.dumps({"messages": messages}, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Trial:
    name: str
    overrides: tuple[str, ...]
    phases: tuple[str, ...]
    processes: int = 1
    auto: bool = False  # every start is the same command, with resume=auto


ONE_WRITES = ("sealing", "pruning", "logging", "writing the student", "writing the summary")  # phases of the main process
DATA = "rows/train.jsonl"
MANY = ("train.gradient_accumulation_steps=2", "train.num_generations=2")
TRIALS = (
    Trial(
        "dynamic, accumulation, best checkpoint kept",
        ("train.gradient_accumulation_steps=2", "evaluation.keep=best", "evaluation.every_steps=1", "train.save_total_limit=1"),
        ("evaluation", "generation", "sealing", "pruning", "live evaluation", "anywhere"),
    ),
    Trial(
        "jsonl, half off-policy, num_generations",
        ("prompts=jsonl", f"prompts.path={DATA}", "loss.lmbda=0.5", *MANY),
        ("backward", "saving", "logging", "anywhere"),
    ),
    Trial("hf data set", ("prompts=hf", "prompts.name=rows", "loss.lmbda=0.5"), ("optimizer", "sealing", "generation"), auto=True),
    Trial(
        "hf stream, rows logged every 3 steps",
        ("prompts=hf", "prompts.name=rows", "prompts.streaming=true", "train.logging_steps=3"),
        ("generation", "backward", "writing the student"),
    ),
    Trial(
        "seq_kd, warm start",
        ("loss.seq_kd=true", "loss.lmbda=0.5", "loss.warm_start_steps=2", "loss.warm_start_until=0.01"),
        ("generation", "teacher", "saving", "anywhere"),
        auto=True,
    ),
    Trial(
        "uld, muon, checkpoints every 2 steps",
        ("loss=uld", "train.optim=muon", "train.save_steps=2"),
        ("optimizer", "backward", "writing the summary"),
    ),
    Trial(
        "stopped early",
        ("evaluation.every_steps=2", "evaluation.early_stop_margin=-1", "evaluation.early_stop_patience=2"),
        ("writing the student", "evaluation", "writing the summary"),
    ),
    Trial(
        "two processes",
        ("loss.lmbda=0.5", "loss.seq_kd=true", "train.logging_steps=2", "grace_s=2"),
        ("generation", "backward", "sealing"),
        processes=2,
    ),
)
SIGNALLED = Trial("signals", ("loss.lmbda=0.5", "loss.seq_kd=true"), ("generation", "backward", "saving", "evaluation"))
SHORT = Trial("short", ("evaluation.every_steps=1", "train.max_steps=3"), ("backward", "sealing"), auto=True)


def go_on(run: Path, auto: bool = False) -> tuple[str, ...]:
    """What is added to a command so that it begins `run`, or goes on with it."""
    if auto:
        return "resume=auto", f"output_dir={run.name}"
    return (f"resume={run.name}" if (run / "run.json").exists() else f"output_dir={run.name}",)


def torture(trial: Trial, directory: Path, seed: int, base: Sequence[str] = TINY) -> Result:
    """Kill, resume, kill, resume, ..., finish; compare."""
    result = Result(trial.name, "kills", " ".join(trial.overrides))
    directory.mkdir(parents=True, exist_ok=True)
    write_rows(directory / DATA)
    rng = random.Random(f"{seed} {trial.name}")
    settings = [*base, *trial.overrides]
    with clock(result):
        done = launch([*settings, "output_dir=whole"], directory, processes=trial.processes)
        assert done.code == 0, f"the run without any kill failed: {done.stderr[-1500:]}"
        cut, newest = directory / "cut", 0
        for phase in trial.phases:
            if status_of(cut) == "completed":
                break
            rank = 0 if phase in ONE_WRITES else rng.randrange(trial.processes)
            plan = make_plan(phase, rng, directory, rank=rank)
            done = launch([*settings, *go_on(cut, trial.auto)], directory, plan=plan, processes=trial.processes)
            event = {"phase": phase, "code": done.code, "where": "ended before its moment came"}
            if (directory / "note.json").exists():
                event |= json.loads((directory / "note.json").read_text()) | {"killed": True, "rank": plan["rank"]}
            elif done.code != 0:
                result.lost.append(f"{phase}: not killed, and failed: {done.stderr[-1500:]}")
            result.events.append(event)
            result.lost += [f"after the kill in {phase}: {fault}" for fault in faults_of_remains(cut, newest)]
            newest = max([newest, *good_steps(cut)])
            event["checkpoint"] = newest
        if status_of(cut) != "completed":
            done = launch([*settings, *go_on(cut, trial.auto)], directory, processes=trial.processes)
            assert done.code == 0, f"the resumed run failed: {done.stderr[-1500:]}"
        result.lost += differences(directory / "whole", cut)
    return result


def interrupt(trial: Trial, directory: Path, seed: int, base: Sequence[str] = TINY) -> Result:
    """As `torture`, with SIGINT, SIGTERM and SIGUSR1, which the run answers: it saves, says how to go on, and exits 128 + n."""
    result = Result(trial.name, "signals", " ".join(trial.overrides))
    directory.mkdir(parents=True, exist_ok=True)
    rng, settings = random.Random(f"{seed} {trial.name}"), [*base, *trial.overrides]
    with clock(result):
        done = launch([*settings, "output_dir=whole"], directory)
        assert done.code == 0, f"the run without any signal failed: {done.stderr[-1500:]}"
        cut = directory / "cut"
        for phase, signum in zip(trial.phases, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM), strict=True):
            plan = make_plan(phase, rng, directory, signal=int(signum), entry=2 if phase == "evaluation" else 1, chance=0.5)
            before = max(good_steps(cut), default=0)
            done = launch([*settings, *go_on(cut)], directory, plan=plan)
            result.events.append({"phase": phase, "signal": signum.name, "code": done.code, "checkpoint": max(good_steps(cut), default=0)})
            if status_of(cut) == "completed" and done.code == 0:
                break  # it came so late that the run was over within the grace period
            if (directory / "note.json").exists():
                if done.code != 128 + signum or "resume=" not in done.stderr or status_of(cut) != "interrupted":
                    result.lost.append(f"{signum.name} in {phase}: exit {done.code}, {status_of(cut)}: {done.stderr[-800:]}")
                if phase in ("generation", "backward", "saving") and max(good_steps(cut), default=0) <= before:
                    result.lost.append(f"{signum.name} in {phase}: the step was not saved")
        if status_of(cut) != "completed":
            done = launch([*settings, *go_on(cut)], directory)
            assert done.code == 0, f"the resumed run failed: {done.stderr[-1500:]}"
        result.lost += differences(directory / "whole", cut)
    return result


def kill_writer(directory: Path, seed: int, kills: int = 150) -> Result:
    """A process that does nothing but write, seal and prune checkpoints, killed at any moment; no good one may ever be lost."""
    result, rng, step = Result("checkpoint writer alone", "kills"), random.Random(f"{seed} writer"), 0
    directory.mkdir(parents=True, exist_ok=True)
    with clock(result):
        for _ in range(kills):
            tidy(directory)
            arguments = [sys.executable, "-c", SEALS_FOR_EVER, str(directory), str(step)]
            child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment())
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.25))
            child.kill()
            said = [int(line) for line in child.stdout.readlines()]
            child.wait()
            tidy(directory)
            newest = newest_valid_checkpoint(directory)
            found = step_of(newest) if newest else 0
            if found < max([step, *said]):
                result.lost.append(f"the checkpoint of step {max([step, *said])} is gone, {found} is left")
            result.lost += [f"{path.name}: {fault}" for path in checkpoints_in(directory) if (fault := checkpoint_fault(path))]
            step = found
    result.events = [{"kills": kills, "checkpoints": step}]
    return result
