"""What a command takes from another run (resume=RUN, extend=RUN, reproduce=RUN): all that it does not change itself.

mapping, mistakes = inherited("resume", given, default, own, ["loss.beta=0.5"], kept=["output_dir"], free=["train.save_steps"])
"""

import functools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gold_style.config.mirror import Mistake, is_below, nodes, written
from gold_style.config.schedule import shortened

INHERITING = ("resume", "extend", "reproduce")
OPTION_KEYS = ("kind", "name", "source")  # of a group: what says which option was chosen


def inherited(
    key: str, given: dict, default: dict, own: dict, overrides: Iterable[str], kept: Collection[str], free: Collection[str]
) -> tuple[dict[str, Any], list[Mistake]]:
    """The settings `own` of the run that `key` names, with what the command line changes, and what it may not change.

    Args: the settings of the command line, those of an empty one, and the run's, all from `to_dict`; the overrides, which say what
    was typed though it is the default; the keys taken from the command line in any case, and those that it may change.
    """
    typed = {text.partition("=")[0].lstrip("+~"): text.partition("=")[2] for text in overrides}
    chosen = {f"{group}.{name}" for group in typed for name in OPTION_KEYS}
    other = [group for group in typed if _option(given, group) != _option(own, group)]  # another option: all that it says is meant
    defaults, owns, refused, derived = dict(nodes(shortened(default))), dict(nodes(shortened(own))), {}, []
    for name, value in nodes(shortened(given)):
        is_meant = name in typed or name in chosen or value != defaults.get(name) or (is_below(name, other) and is_below(name, free))
        changed = value != owns.get(name) and is_meant
        if (isinstance(value, Mapping) and value) or not (changed or is_below(name, kept)):
            continue
        if is_below(name, kept) or is_below(name, free):
            *path, last = name.split(".")
            functools.reduce(lambda node, word: node.setdefault(word, {}), path, own)[last] = value
        elif name not in INHERITING:  # the command line's check says that only one of them may be given
            group = name if name in typed else next((text for text in typed if is_below(name, [text])), None)
            where = "it" if group in (None, name) else name
            reason = f"is taken from the run that {key}= names, where {where} is {written(owns.get(name))}; leave it out"
            if group is None:  # an option or a recipe brought it along
                derived.append(Mistake(name, written(value), reason))
            else:
                refused.setdefault(group, Mistake(group, written(value) if group == name else typed[group], reason))
    return own, list(refused.values()) or derived


def _option(settings: dict, group: str) -> list[Any]:
    """What says which option of a group was chosen; for a single key nothing."""
    values = settings.get(group)
    return [values.get(name) for name in OPTION_KEYS] if isinstance(values, Mapping) else []
