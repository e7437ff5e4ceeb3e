"""Has the student learned the style? One code and one sentence, from what summary.json holds.

A student can reach what its teacher shows, so all is held against the teacher with its system prompt:

- learned: LEARNED of the teacher's margin, with the lower end of the interval above SURE of it, and nothing worse than the
  teacher by more than WORSE: leakage, the style without a tag, degenerate answers, topics lost
- not_learned: less than PARTLY of the margin, or an interval that reaches 0
- unknown: no margin, no teacher, a teacher that hardly toggles (below TEACHES), or so FEW requests that the interval spans several codes
- partly: the rest

Example: `verdict(summary, recipe_steps=160)` is {"code": "learned", "sentence": "Learned: 98 % of the teacher's margin; leaks ..."}.
"""

from typing import Any

LEARNED, SURE, PARTLY = 0.9, 0.75, 0.5  # shares of the teacher's margin
TEACHES = 0.5  # the teacher's margin; below it there is hardly a toggle to learn
FEW = 20  # requests per tag
WORSE = {"leakage": 0.05, "untagged": 0.05, "degenerate": 0.05, "content": -0.1}  # number of S -> how much more or less is a fault
FAULTS = ("degenerate", "content")  # named where they are faults; leaks always are
OPENINGS = {"learned": "Learned", "partly": "Partly learned", "not_learned": "Not learned yet", "unknown": "Cannot be told"}


def verdict_of(summary: dict[str, Any]) -> dict[str, str]:
    """`details.verdict` of a summary; computed for one that was written before there was any."""
    return summary.get("details", {}).get("verdict") or verdict(summary)


def verdict(summary: dict[str, Any], recipe_steps: int | None = None) -> dict[str, str]:
    """{"code", "sentence"} of a summary. `recipe_steps`: what the pair's recipe trains for, named where a shorter run has not learned."""
    after, teacher = summary.get("after") or {}, summary.get("teacher") or {}
    margin, goal = after.get("margin"), teacher.get("margin")
    faults = [name for name, limit in WORSE.items() if after.get(name) is not None and (after[name] - (teacher.get(name) or 0)) / limit > 1]
    if margin is None:
        code, fact = "unknown", "too many answers are ambiguous" if after else "no request was asked"
    elif goal is None or goal < TEACHES:
        reason = "without a teacher's to hold it against" if goal is None else f"but the teacher itself hardly toggles ({goal:.2f})"
        code, fact = "unknown", f"margin {margin:.2f}, {reason}"
    else:
        model = summary.get("details", {}).get("models", {}).get("after") or {}
        low, high = model.get("intervals", {}).get("margin") or (margin, margin)
        fact = f"{percent(margin / goal)} of the teacher's margin"
        if margin >= LEARNED * goal and low >= SURE * goal:
            code = "partly" if faults else "learned"
        elif high >= PARTLY * goal and after["prompts"] < FEW:
            code, fact = "unknown", f"only {after['prompts']} requests per tag; {fact}"
        else:
            code = "not_learned" if margin < PARTLY * goal or low <= 0 else "partly"
    places = {"under the neutral tag": after.get("leakage"), "without a tag": after.get("untagged")}
    leaks = ", ".join(f"{percent(part)} {place}" for place, part in places.items() if part is not None)
    named = [f"{name} {percent(after[name])}" for name in faults if name in FAULTS]
    facts = [fact, leaks and f"leaks {leaks}", *named]
    if code != "learned" and recipe_steps and 0 < summary["steps"] < recipe_steps:
        facts.append(f"the recipe is {recipe_steps} steps, this run had {summary['steps']}")
    return {"code": code, "sentence": f"{OPENINGS[code]}: {'; '.join(filter(None, facts))}"}


def percent(part: float) -> str:
    """A share in whole percent; 0 % is none and 100 % all, so 0.996 is 99 %."""
    return f"{min(99, max(1, round(100 * part))) if 0 < part < 1 else round(100 * part)} %"
