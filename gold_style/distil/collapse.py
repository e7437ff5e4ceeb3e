"""Watches a run's numbers for what does not heal by itself: a student that collapses.

On-policy students feed on their own text, so a student that starts to repeat itself, to fall silent or to answer every
request in one style is trained further in that direction. `CollapseGuard` compares the logged rows with the run's own first ones
and with the teacher:

| cause      | from                            | said when                                                            |
|------------|---------------------------------|----------------------------------------------------------------------|
| degenerate | style/degenerate                | at least half of the answers, PATIENCE live evaluations in a row     |
| leakage    | style/leakage                   | at least 0.9 under the neutral tag, PATIENCE live evaluations in a row |
| entropy    | train/student_entropy           | twice its first level and 2 nats above the teacher's, or a tenth of both |
| length     | train/unfinished                | 0.9 of the completions run into the limit, and at most half did at first |
| length     | train/completion_tokens         | 2 tokens are left of 8 or more                                       |
| skipping   | train/skipped_steps             | SMOOTHED logged rows in a row each dropped a step (on_nonfinite=skip) |

Levels of train/ numbers are medians of SMOOTHED rows. Example:
`CollapseGuard(on_collapse="warn", say=print, record=run.update)` among a trainer's callbacks.
"""

import math
from collections.abc import Callable
from statistics import median

from gold_style.distil.callbacks import Resumable

SMOOTHED = 5  # rows of a level
PATIENCE = 3  # live evaluations in a row
CURVE = 32  # newest values that a warning draws
BARS = "▁▂▃▄▅▆▇█"
MIX_IN = "lower train.learning_rate, or mix in teacher-written rows (loss.seq_kd=true loss.lmbda=0.5)"
CAUSES = {  # cause: (the number that shows it, what to do about it)
    "degenerate": ("style/degenerate", MIX_IN),
    "leakage": ("style/leakage", "raise the share of neutral rows (lower prompts.chosun_probability), or take prompts.pairing=paired"),
    "entropy": ("train/student_entropy", "lower train.learning_rate, or take another loss.beta"),
    "length": ("train/completion_tokens", MIX_IN),
    "skipping": ("train/skipped_steps", "lower train.learning_rate; nothing has been learned since"),
}
WATCHED = (*(number for number, _ in CAUSES.values()), "train/teacher_entropy", "train/unfinished")


class Collapsed(RuntimeError):
    """The student has collapsed, and on_collapse is stop."""


class CollapseGuard(Resumable):
    """Says once for each cause that the student collapses, with the curve; with on_collapse=stop it raises Collapsed.

    `say` gets the warning; `record` gets `collapse=[{"step", "cause", "message"}, ...]`, for run.json. A cause that has passed
    may be said again.
    """

    STORED = ("curves", "first", "said", "found")

    def __init__(self, *, on_collapse: str, say: Callable[[str], None], record: Callable = lambda **fields: None):
        self.on_collapse, self.say, self.record = on_collapse, say, record
        self.curves: dict[str, list[float]] = {name: [] for name in WATCHED}  # newest values
        self.first: dict[str, float] = {}  # level of the first SMOOTHED rows
        self.said: list[str] = []  # causes that hold now
        self.found: list[dict] = []  # everything that was said

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Raises Collapsed."""
        for name, curve in self.curves.items():
            value = (logs or {}).get(name)
            if value is not None and math.isfinite(value):
                curve.append(float(value))
                del curve[:-CURVE]
                if len(curve) == SMOOTHED and name not in self.first:
                    self.first[name] = median(curve)
        holding = self.causes()
        for cause, reason in holding.items():
            if cause not in self.said:
                self._tell(state.global_step, cause, reason)
        self.said = list(holding)

    def causes(self) -> dict[str, str]:
        """{cause: what is wrong} as of the latest row."""
        found = {}
        for cause, limit, what in (("degenerate", 0.5, "are degenerate"), ("leakage", 0.9, "under the neutral tag have the style")):
            latest = self.curves[f"style/{cause}"][-PATIENCE:]
            if len(latest) == PATIENCE and min(latest) >= limit:
                found[cause] = f"{latest[-1]:.0%} of the answers {what}, {PATIENCE} live evaluations in a row at {limit:.0%} or more"
        if reason := self._entropy_fault():
            found["entropy"] = reason
        unfinished, tokens = self._level("train/unfinished"), self._level("train/completion_tokens")
        if unfinished is not None and unfinished >= 0.9 and self.first["train/unfinished"] <= 0.5:
            found["length"] = f"{unfinished:.0%} of the completions run into train.max_completion_length"
        elif tokens is not None and tokens <= 2 and self.first["train/completion_tokens"] >= 8:
            found["length"] = f"completions have shrunk to {tokens:.3g} tokens"
        skipped = self.curves["train/skipped_steps"][-SMOOTHED - 1 :]
        if len(skipped) > SMOOTHED and all(b > a for a, b in zip(skipped, skipped[1:], strict=False)):
            found["skipping"] = f"{skipped[-1]:.0f} steps dropped, and every one of late"
        return found

    def _entropy_fault(self) -> str | None:
        student, teacher = self._level("train/student_entropy"), self._level("train/teacher_entropy")
        if student is None or teacher is None:
            return None
        first = self.first["train/student_entropy"]
        has_run_up = student > 2 * first and student > teacher + 2
        if not has_run_up and student >= 0.1 * min(first, teacher):
            return None
        way = "run up" if has_run_up else "fallen"
        return f"the student's entropy has {way} to {student:.3g} nats per token (at first {first:.3g}, teacher {teacher:.3g})"

    def _level(self, name: str) -> float | None:
        """The median of the newest rows; None before there are more rows than make up the first level."""
        curve = self.curves[name]
        return median(curve[-SMOOTHED:]) if len(curve) > SMOOTHED else None

    def _tell(self, step: int, cause: str, reason: str) -> None:
        number, advice = CAUSES[cause]
        message = f"step {step}: {reason}; {advice}\n  {number} {sparkline(self.curves[number])}"
        self.found.append({"step": step, "cause": cause, "message": message})
        self.record(collapse=self.found)
        if self.on_collapse == "stop":
            raise Collapsed(f"{message}\n  (on_collapse=stop; the last checkpoint is kept)")
        self.say(f"warning: {message}\n  (on_collapse=stop would end such a run)")


def sparkline(values: list[float]) -> str:
    """A curve in one line of text, oldest value first, with its lowest, highest and latest number."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    bars = "".join(BARS[round((value - low) * scale)] for value in values)
    return f"{bars} (lowest {low:.3g}, highest {high:.3g}, now {values[-1]:.3g})"
