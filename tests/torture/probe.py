"""Runs a script of the project and ends it with a real SIGKILL at a random moment of a chosen phase.

    python tests/torture/probe.py PLAN.json train.py OVERRIDES...

A second thread looks at the main thread's stack every SAMPLE_S. Once the phase named by the plan has been entered often
enough, each look kills with the plan's `chance`, so that the moment falls anywhere in the phase, in any line of Python or
inside any call. The product knows nothing of this: it runs as it does behind `python train.py`.

PLAN.json: {"phase": name in PHASES, "entry": n-th time it is entered, "chance": per look, "seed": n, "rank": process that is
killed, "note": file that says where it happened}, or {"phase": "anywhere", "after_s": seconds, ...}. With "signal" a signal is
sent instead, once, and the process is left to end as it will.
"""

import json
import os
import random
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

SAMPLE_S = 0.001
PROJECT = Path(__file__).resolve().parents[2]
# phase -> (part of the file's path, function) of a frame that is on the stack
PHASES = {
    "loading": (("gold_style/job/build.py", "build_trainer"),),
    "evaluation": (("gold_style/job/training.py", "ask_student"), ("gold_style/job/training.py", "ask_teacher")),
    "generation": (("distil/row_maker.py", "make"),),
    "teacher": (("distil/row_maker.py", "read"),),
    "backward": (("distil/trainer.py", "_train_on"),),
    "optimizer": (("torch/optim/", "step"), ("distil/muon.py", "step")),
    "logging": (("distil/trainer.py", "log"), ("runs/run.py", "log")),
    "live evaluation": (("gold_style/job/training.py", "live_numbers"),),
    "saving": (("distil/trainer.py", "_save_checkpoint"),),
    "sealing": (("runs/checkpoints.py", "seal_checkpoint"),),
    "pruning": (("runs/checkpoints.py", "prune"),),
    "writing the student": (("distil/student_copy.py", "save"),),
    "writing the summary": (("runs/run.py", "write_samples"), ("runs/run.py", "complete"), ("show/report.py", "write_report")),
    "upload": (("runs/trackers/wandb.py", "close"),),
}


def stack(frame) -> list[tuple[str, str, int]]:
    """(file, function, line) from the innermost frame outwards."""
    found = []
    while frame is not None:
        found.append((frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return found


def where(frames: list[tuple[str, str, int]]) -> str:
    """The innermost frame of this project, and what it had called."""
    own = next((place for place in frames if str(PROJECT / "gold_style") in place[0]), frames[-1])
    inner = frames[0]
    place = f"{Path(own[0]).name}:{own[2]} {own[1]}"
    return place if inner == own else f"{place} > {Path(inner[0]).name}:{inner[2]} {inner[1]}"


def watch(plan: dict, main_thread: int) -> None:
    rng, started = random.Random(plan["seed"]), time.monotonic()
    phase, entries, inside = PHASES.get(plan["phase"], ()), 0, False
    while True:
        time.sleep(SAMPLE_S)
        frames = stack(sys._current_frames().get(main_thread))
        if plan["phase"] == "anywhere":
            ready = time.monotonic() - started > plan["after_s"]
        else:
            now = any(part in file and function == name for part, name in phase for file, function, _ in frames)
            entries, inside = entries + (now and not inside), now
            ready = inside and entries >= plan["entry"] and rng.random() < plan["chance"]
        if ready:
            note = {"phase": plan["phase"], "where": where(frames), "after_s": round(time.monotonic() - started, 2)}
            Path(plan["note"]).write_text(json.dumps(note))
            os.kill(os.getpid(), plan.get("signal", signal.SIGKILL))
            return


def start(plan: dict) -> None:
    """Watch the main thread from here on, where this is the process that the plan means."""
    if int(os.environ.get("RANK") or 0) == plan.get("rank", 0):
        threading.Thread(target=watch, args=(plan, threading.main_thread().ident), daemon=True).start()


def main() -> None:
    plan, script = json.loads(Path(sys.argv[1]).read_text()), str(PROJECT / sys.argv[2])
    sys.argv = [script, *sys.argv[3:]]
    sys.path[0] = str(PROJECT)
    start(plan)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
