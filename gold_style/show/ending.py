"""How a run ends: its verdict, and three lines to copy: open the report, ask it, what to try next. Read from the run's files.

print(last_lines(run.directory))
"""

import os
import shlex
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from gold_style.config.losses import reads
from gold_style.measure.verdict import WORSE, verdict_of
from gold_style.runs.files import read_json, read_json_lines
from gold_style.runs.naming import key_of
from gold_style.runs.run import INHERITING
from gold_style.runs.run_directory import STATE, SUMMARY, read_config
from gold_style.show.summary_table import verdict_line
from gold_style.show.words import TEXTS, language, word

STEPS = ("train.max_steps", "train.num_train_epochs")  # either says how long a run is


def last_lines(directory: Path) -> str:
    """The verdict and the commands, for a run that is complete, in the reader's language; an evaluation has nothing to try next."""
    summary, state, lang = read_json(directory / SUMMARY) or {}, read_json(directory / STATE) or {}, language()
    path = directory.resolve()
    here = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    commands = {
        "open the report": ["python", "-m", "webbrowser", (path / "report.html").as_uri()],
        "ask it": ["python", "-m", "gold_style.play", here, *([] if find_spec("gradio") else ["--terminal"])],
    }
    if "target" in state:
        asked = next((row["request"] for row in read_json_lines(directory / "samples.jsonl")), "...")
        commands["ask it"] = ["python", "evaluate.py", state["target"], f"request={asked}"]
    else:
        config, overrides = read_config(directory), state.get("overrides") or []
        launch = [*takewhile(lambda text: text not in overrides, shlex.split(state.get("command") or "python train.py"))]
        reason, changes = next_step(summary, config)
        if any(key_of(text) in INHERITING for text in overrides):  # its settings are another run's, which may not be changed
            reason, changes, overrides = "repeat", [f"reproduce={here}"], ()
        replaced = {key_of(text) for text in changes} | {"output_dir"}
        replaced |= set(STEPS) if replaced & set(STEPS) else set()
        kept = [text for text in overrides if key_of(text) not in replaced]
        commands[f"try next ({TEXTS['next'][reason]})"] = [*launch, *kept, *changes]
    return "\n".join([verdict_line(summary, lang), *(f"{word(name, lang)}: {shlex.join(words)}" for name, words in commands.items())])


def next_step(summary: dict[str, Any], config: dict[str, Any]) -> tuple[str, list[str]]:
    """A key of TEXTS["next"], and the overrides of a run to try after this one."""
    code, steps, loss = verdict_of(summary)["code"], summary.get("steps") or 0, config["loss"]
    after, teacher = summary.get("after") or {}, summary.get("teacher") or {}
    recipe, rows = config["model"]["recipe"]["max_steps"], config["prompts"]
    if code == "learned":
        return "seed", [f"seed={config['seed'] + 1}"]
    if code == "unknown" and (not after or after["margin"] is not None and teacher.get("margin")):
        return "requests", [f"prompts.eval_samples={128 if rows['source'] == 'dynamic' else 32}"]
    if code == "unknown":
        return "teacher", ["dry_run=true"]
    if steps < recipe:
        return "recipe", [f"train.max_steps={recipe}"]
    if (after.get("untagged") or 0) - (teacher.get("untagged") or 0) > WORSE["untagged"] and rows["source"] == "dynamic":
        return "untagged", [f"prompts.untagged_share={min(0.5, 2 * (rows['untagged_share'] or 0.1)):g}"]
    if code == "not_learned" and loss["beta"] != 0 and reads(loss["kind"], "beta"):
        return "beta", ["loss.beta=0"]
    return "steps", [f"train.max_steps={2 * steps}"]
