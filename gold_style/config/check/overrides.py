"""Command-line arguments -> overrides that Hydra can read, and what is wrong with their keys and options.

Hydra's own parser does the reading. Outside quotes its grammar knows no letters beyond ASCII, so Korean is quoted.

    line = read_arguments(["loss.betta=1", "prompts.path=요청.jsonl"])
    override_mistake(line.overrides[0], groups_of([CONF]), {"loss.beta"}, False)  # did you mean loss.beta?
"""

import itertools
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, OverrideType, Quote, QuotedString, RangeSweep
from hydra.errors import HydraException

from gold_style import did_you_mean, nearest
from gold_style.config.gold_config import gold_config_fields, refusal
from gold_style.config.mirror import Mistake, nearest_key, unknown_key, written
from gold_style.config.yaml_file import read_mapping

SHOWING = {"--help", "-h", "--hydra-help", "--version", "--shell-completion", "-sc", "--info", "-i", "--experimental-rerun"}
FLAGS = {*SHOWING, "--resolve", "--run", "-r", "--multirun", "-m"}
FLAGS_WITH_VALUE = {"--cfg": "-c", "--package": "-p", "--config-path": "-cp", "--config-name": "-cn", "--config-dir": "-cd"}
LONG = {short: long for long, short in FLAGS_WITH_VALUE.items()} | {"-m": "--multirun", "-r": "--run"}
FREE_TEXT = {"request", "prompts.teacher_system_prompt", "prompts.student_system_prompt", "styles.intro"}
TEMPLATE_KWARGS = ("model.student_template_kwargs.", "model.teacher_template_kwargs.")
PACK_MAPPINGS = ("styles.styles.", "styles.requests.", "styles.classifier.")
FREE_MAPPINGS = ("model.teachers.", *PACK_MAPPINGS, "model.recipe.lr_scheduler_kwargs.", *TEMPLATE_KWARGS)
OURS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir")
KEY = re.compile(r"(~|\+{0,2})\w+([./@:]\w+)*", re.ASCII)  # what Hydra's grammar takes for one
QUOTED = re.compile(r"""null|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|""", re.DOTALL)  # free text that is handed on as typed
MAX_VALUES = 10_000  # of one key in a sweep
MAX_JOBS = 48  # of a sweep that are checked one by one; of larger ones each value is checked once

ORIGIN_FLAGS, OTHER_NAMES, GROUP_HINTS = read_mapping(Path(__file__).with_suffix(".yaml")).values()


@dataclass
class CommandLine:
    """Arguments taken apart: Hydra's own options, and overrides in a form that Hydra's parser reads."""

    flags: list[str] = field(default_factory=list)  # Hydra's own, as it takes them
    texts: list[str] = field(default_factory=list)  # the overrides
    options: dict[str, str] = field(default_factory=dict)  # long name -> value, "" for flags
    overrides: list[Override] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def arguments(self) -> list[str]:
        """What Hydra is to be given; its parser wants overrides together."""
        return [*self.texts, *self.flags]

    @property
    def is_sweep(self) -> bool:
        return "--multirun" in self.options

    @property
    def only_shows(self) -> bool:
        """Whether Hydra will print its help, version or the like, so that there is nothing to check."""
        return not SHOWING.isdisjoint(self.options)


@dataclass(frozen=True)
class Choice:
    """One override with one of its values, as a job of a sweep has it."""

    override: Override
    value: Any
    text: str  # as Hydra's parser reads it

    @property
    def key(self) -> str:
        return self.override.key_or_group


def read_arguments(arguments: Sequence[str], known_keys: Iterable[str] = (), positional: str | None = None) -> CommandLine:
    """Tells Hydra's options from overrides, and quotes values that Hydra's grammar cannot read unquoted.

    `positional`: the key that an argument without one is for.
    """
    line, parser, rest = CommandLine(), OverridesParser.create(), list(arguments)
    if {"-m", "--multirun"} & set(rest):
        line.options["--multirun"] = ""
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        name = LONG.get(name, name)
        if argument in FLAGS:
            line.options[name] = ""
            line.flags.append(argument)
        elif name in FLAGS_WITH_VALUE and not (equals or rest):
            line.mistakes.append(Mistake(name, None, "needs a value"))
        elif name in FLAGS_WITH_VALUE:
            line.options[name] = value if equals else rest.pop(0)
            line.flags += [name, line.options[name]]
        elif argument.startswith("-"):
            if not equals and rest and "=" not in rest[0] and (not rest[0].startswith("-") or rest[0][1:2].isdigit()):
                value = rest.pop(0)
            line.mistakes.append(Mistake(name, value or None, f"no such flag; {flag_advice(name, value or 'VALUE', known_keys)}"))
        elif line.only_shows and not equals:
            line.flags.append(argument)  # the topic of --info
        else:
            is_value = positional and (not equals or os.path.exists(argument))
            _read_override(f"{positional}={argument}" if is_value else argument, line, parser, known_keys)
    return line


def flag_key(name: str, known_keys: Iterable[str]) -> str | None:
    """The key that an unknown --flag means, or what a field of TRL's is replaced by: by another trainer's name, or the nearest."""
    word, field_name = name.replace("_", "-"), name.replace("-", "_")
    refused = refusal(field_name) if field_name in gold_config_fields() else None
    return ORIGIN_FLAGS.get(word) or OTHER_NAMES.get(word) or (refused[1] if refused else nearest_key(name, known_keys))


def flag_advice(name: str, value: str, known_keys: Iterable[str]) -> str:
    """What to write instead of an unknown --flag."""
    if near := nearest(name, [*FLAGS, *FLAGS_WITH_VALUE], 0.82):
        return f"did you mean {near}?"
    key = flag_key(name.lstrip("-"), known_keys) or "KEY"
    return f"write {key}={value}" if KEY.fullmatch(key.split()[-1]) else f"use {key}"


def _read_override(text: str, line: CommandLine, parser: OverridesParser, known_keys: Iterable[str]) -> None:
    for candidate in quoted_forms(text, line.is_sweep):
        try:
            line.overrides.append(parser.parse_override(candidate))
        except HydraException:
            continue
        line.texts.append(candidate)
        return
    key, equals, value = text.partition("=")
    reason = "cannot be read; quote it twice, KEY='\"VALUE\"'" if equals else "settings are written KEY=VALUE"
    if equals and not KEY.fullmatch(key):
        reason = unknown_key(key, known_keys)
    line.mistakes.append(Mistake(key, written(value) if equals else None, reason))


def quoted_forms(text: str, is_sweep: bool) -> Iterator[str]:
    """`text` unchanged, then with parts of its value quoted, for the first that Hydra's parser accepts."""
    key, equals, value = text.partition("=")
    if key in FREE_TEXT and not is_sweep and not QUOTED.fullmatch(value):
        literal = re.sub(r"(?<!\\)\$\{", r"\\${", value)  # or OmegaConf would look for a key of that name
        yield f"{key}={_quoted(literal)}"
        return
    yield text
    if not equals:
        return
    if value.startswith(("[", "{", "choice(")):
        foreign = re.compile(r"[^,\[\]{}():\"']*[^\x00-\x7f][^,\[\]{}():\"']*")
        yield f"{key}={foreign.sub(lambda match: _quoted(match.group().strip()), value)}"
    if is_sweep and "," in value:
        yield f"{key}={','.join(_quoted(part.strip()) for part in value.split(','))}"
    yield f"{key}={_quoted(value)}"


def _quoted(text: str) -> str:
    return QuotedString(text=text, quote=Quote.double).with_quotes()


def groups_of(directories: Iterable[Path]) -> dict[str, list[str]]:
    """Config group -> its options, from the YAML files of config directories."""
    groups: dict[str, list[str]] = {}
    for directory in directories:
        for path in sorted(directory.glob("*/**/*.yaml")):
            groups.setdefault(path.parent.relative_to(directory).as_posix(), []).append(path.stem)
    return groups


def choices_of(override: Override, groups: dict[str, list[str]]) -> list[Choice]:
    """Every value that an override takes: one, or those of a sweep; an interval gives its two ends."""
    if not override.is_sweep_override():
        return [Choice(override, override.value(), override.input_line)]
    value, key, parser = override.value(), override.get_key_element(), OverridesParser.create()
    if isinstance(value, IntervalSweep):
        texts = [str(value.start), str(value.end)]
    elif isinstance(value, RangeSweep):
        return [Choice(override, number, f"{key}={number}") for number in value.range()]
    elif isinstance(value, Glob):
        texts = value.filter(groups.get(override.key_or_group, []))
    else:
        texts = list(override.sweep_string_iterator())
    return [Choice(override, parser.parse_override(text).value(), text) for text in (f"{key}={text}" for text in texts)]


def jobs_of(overrides: Sequence[Override], groups: dict[str, list[str]]) -> Iterator[list[Choice]]:
    """The jobs of a command line; of a sweep beyond MAX_JOBS, enough of them to meet each value once.

    Of more than MAX_JOBS values of one key, the first, the last and some between are met.
    """
    choices = [choices_of(override, groups) for override in overrides]
    if math.prod(len(values) for values in choices) <= MAX_JOBS:
        yield from map(list, itertools.product(*choices))
        return
    base = [values[0] for values in choices]
    yield base
    for number, values in enumerate(choices):
        spread = [*values[1 :: max(1, len(values) // MAX_JOBS)], values[-1]] if len(values) > 1 else []
        yield from ([*base[:number], choice, *base[number + 1 :]] for choice in spread)


def override_mistake(override: Override, groups: dict[str, list[str]], known: set[str], is_sweep: bool) -> Mistake | None:
    """What is wrong with an override's key, or with its option where the key is a group."""
    key = override.key_or_group
    if override.is_sweep_override() and not is_sweep:
        reason = "several values make a sweep; add -m"
    elif override.is_sweep_override() and (fault := _sweep_fault(override, groups)):
        reason = fault
    elif "_target_" in key.split(".") or "()" in key or "_target_" in str(override.value()):
        reason = "names code to run; settings hold only values"
    elif key.startswith("hydra"):
        reason = "is the project's own; use output_dir" if key in OURS else None
    elif key in groups:
        reason = _option_fault(override, groups)
    else:
        reason = _key_fault(override, known, groups)
    if reason is None:
        return None
    sign = {OverrideType.ADD: "+", OverrideType.FORCE_ADD: "++", OverrideType.DEL: "~"}.get(override.type, "")
    _, equals, text = override.input_line.partition("=")
    return Mistake(f"{sign}{key}", written(text) if equals else None, reason)


def _sweep_fault(override: Override, groups: dict[str, list[str]]) -> str | None:
    value = override.value()
    if isinstance(value, IntervalSweep) and not value.start < value.end:
        return "an interval goes from a lower to a higher number"
    if isinstance(value, IntervalSweep) and "log" in value.tags and value.start <= 0:
        return "an interval with the tag log begins above 0"
    if isinstance(value, RangeSweep):
        if not value.step:
            return "a range needs a step other than 0"
        number = math.ceil((value.stop - value.start) / value.step)
        if number > MAX_VALUES:
            return f"gives {number} values; a sweep takes at most {MAX_VALUES}"
    return None if choices_of(override, groups) else "gives no value at all"


def _option_fault(override: Override, groups: dict[str, list[str]]) -> str | None:
    group, options = override.key_or_group, groups[override.key_or_group]
    if override.type == OverrideType.DEL:
        return f"cannot be taken away; choose one of {', '.join(options)}"
    for value in (choice.value for choice in choices_of(override, groups)):
        for option in value if isinstance(value, list) else [value]:
            if option is None:
                return f"null is no option of {group}; leave it out, or choose one of {', '.join(options)}"
            if option not in options:
                is_name = group in GROUP_HINTS and re.search(r"[/.\\]", str(option))
                hint = f"; {GROUP_HINTS[group].format(option)}" if is_name else did_you_mean(option, options)
                return f"{option} is no option of {group}; there are {', '.join(options)}{hint}"
    if override.type in (OverrideType.ADD, OverrideType.FORCE_ADD):
        return f"{group} is chosen already; write {group}=... without the plus"
    return None


def _key_fault(override: Override, known: set[str], groups: dict[str, list[str]]) -> str | None:
    key = override.key_or_group
    train_field = key.removeprefix("train.").partition(".")[0] if key.startswith("train.") else None
    is_free = key.startswith(FREE_MAPPINGS) or (train_field in gold_config_fields() and key.count(".") > 1)
    if is_free and key not in known and override.type == OverrideType.CHANGE:
        return unknown_key(key, [name for name in known if name.startswith(FREE_MAPPINGS)]) + "; to add it, write a plus before it"
    if other := OTHER_NAMES.get(key.replace("_", "-")):
        return f"unknown key; did you mean {other}?"
    if key not in known and not is_free and train_field is None:
        usable = [name for name in sorted(known) if not (name.startswith("train.") and refusal(name.split(".")[1]))]
        return unknown_key(key, [*usable, *groups])
    if override.type == OverrideType.DEL:
        return "cannot be taken away; give it a value, or null"
    if override.type == OverrideType.ADD and key in known:
        return "exists already; write it without the plus"
    return None
