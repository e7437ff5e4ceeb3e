"""The command line, checked before Hydra runs and torch is imported: every mistake at once, exit code 2, no traceback.

Hydra by itself stops at the first unknown key, with exit code 1, and checks no range. Here each override, and each
value of a sweep, is held against the composed config, the typed settings, their rules, the files and the launch.

    @hydra_main("config")
    def main(cfg: DictConfig) -> float: ...
"""

import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gold_style import PACKAGE
from gold_style.config.check.launch import launch_mistakes
from gold_style.config.check.overrides import Choice, CommandLine, groups_of, jobs_of, override_mistake, read_arguments
from gold_style.config.check.paths import file_mistakes, output_fault
from gold_style.config.check.presets import SWEEPER, with_own_conf, with_preset
from gold_style.config.check.rules import notes, rule_mistakes, unread_mistakes, untagged_mistakes
from gold_style.config.gold_config import allowed_fields, gold_config_fields
from gold_style.config.inheritance import INHERITING
from gold_style.config.launch import is_main_process
from gold_style.config.mirror import Mistake, hints_of, keys_of, nodes, written
from gold_style.config.settings import CONF, EvaluateSettings, Settings, SettingsError, compose_config, find_directory, in_sweep

SETTINGS = {"config": Settings, "evaluate": EvaluateSettings}
OWN_GROUPS = ("hardware", "prompts", "styles")  # of evaluate.py
SPEAKS_FIRST_S = 10


def hydra_main(
    config_name: str, sweep: Callable[[list[str], Callable[[list[str]], None]], None] | None = None
) -> Callable[[Callable[[Any], Any]], Callable[..., Any]]:
    """As `hydra.main` for conf/<config_name>.yaml, with the check before it; mistakes get no traceback.

    `sweep(arguments, start)` is handed a command line with -m, and what starts it.
    """

    def decorate(task: Callable[[Any], Any]) -> Callable[..., Any]:
        @functools.wraps(task)
        def main(cfg: DictConfig | None = None) -> Any:
            if cfg is not None:  # as with hydra.main, a caller may bring a config
                return task(cfg)
            sys.argv[1:] = checked_arguments(with_own_conf(with_preset(sys.argv[1:], CONF), CONF), config_name)
            run = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)

            def start(arguments: list[str]) -> Any:
                sys.argv[1:] = arguments
                return run(_reporting(task, SETTINGS[config_name]))()

            if sweep is not None and {"-m", "--multirun"} & set(sys.argv[1:]):
                return sweep(sys.argv[1:], start)
            return start(sys.argv[1:])

        return main

    return decorate


def checked_arguments(arguments: Sequence[str], config_name: str) -> list[str]:
    """The arguments as Hydra can read them. Says what is wrong with them on stderr and exits with code 2."""
    try:
        ready, remarks = check(arguments, config_name)
    except SettingsError as error:
        number = "one setting" if len(error.mistakes) == 1 else f"{len(error.mistakes)} settings"
        exit_with("\n  ".join([f"nothing was started, because of {number}:", *map(str, error.mistakes)]))
    if is_main_process():
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
    return ready


def exit_with(message: str) -> None:
    """One message, from one process of a launch; exit code 2.

    A launcher ends all processes as soon as one of them has failed, so the others give the first one time to speak. One that
    still lives after `SPEAKS_FIRST_S` has a fault of its own and says it.
    """
    if not is_main_process():
        time.sleep(SPEAKS_FIRST_S)
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr, flush=True)
    raise SystemExit(2)


def _reporting(task: Callable[[Any], Any], cls: type) -> Callable[[Any], Any]:
    """`task` after a check of its own job's settings; a mistake of the user ends a single run with exit code 2.

    That is a ValueError that this project raised. One out of a library is a defect and keeps its traceback, and so does
    everything under HYDRA_FULL_ERROR=1. A job of a sweep ends by its exception: SystemExit would end the others, too.
    """

    @functools.wraps(task)
    def reporting(cfg: DictConfig) -> Any:
        try:
            settings, mistakes = cls.read(cfg)
            if mistakes := mistakes or rule_mistakes(settings):
                raise SettingsError(mistakes)
            return task(cfg)
        except ValueError as error:
            if os.environ.get("HYDRA_FULL_ERROR") or in_sweep() or not raised_here(error):
                raise
            message = str(error)
        exit_with(message)

    return reporting


def raised_here(error: BaseException) -> bool:
    """Whether the innermost frame of an exception is this project's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).resolve().is_relative_to(PACKAGE)


def check(arguments: Sequence[str], config_name: str) -> tuple[list[str], list[str]]:
    """The arguments as Hydra can read them, and remarks for the user.

    Raises SettingsError with all that is wrong: flags, keys, options, values, combinations, files and the launch.
    """
    cls = SETTINGS[config_name]
    keys = set(keys_of(cls)) | ({f"train.{name}" for name in gold_config_fields()} if cls is Settings else set())
    positional, fields = (None, allowed_fields()) if cls is Settings else ("target", ())
    line = read_arguments(arguments, [*keys_of(cls), *(f"train.{name}" for name in fields)], positional)
    if line.only_shows:
        return list(arguments), []
    targets = [override.value() for override in line.overrides if override.key_or_group == positional]
    if positional and (line.is_sweep or len(targets) > 1 or not all(isinstance(target, (str, int, float)) for target in targets)):
        reason = "is one model, scored once (a request is written request=TEXT); to compare runs: python -m gold_style.compare RUN RUN"
        raise SettingsError([Mistake(positional, None, reason)])
    mistakes, unread, remarks = list(line.mistakes), [], []
    try:
        config = _Config(line, config_name)
        usable = config.usable_overrides(line, keys, mistakes)
        shows_config = "--cfg" in line.options
        for number, job in enumerate(jobs_of(usable, config.groups)):
            settings, found = cls.read(config.composed(job, mistakes), [choice.text for choice in job])
            wrong, given = [mistake.key for mistake in found], [choice.key for choice in job]
            mistakes += [*found, *rule_mistakes(settings, wrong), *([] if wrong else untagged_mistakes(settings, given))]
            unread.append({} if wrong else {mistake.key: mistake for mistake in unread_mistakes(settings, given)})
            if not shows_config:
                planned = getattr(settings, "plan", None)  # which needs no model
                mistakes += file_mistakes(settings, [*wrong, "model.teacher", "model.teachers", "model.student"] if planned else wrong)
                mistakes += _place_mistakes(settings, wrong, job, line) if number == 0 else []
            remarks += notes(settings, given) if not wrong else []
        mistakes += [mistake for key, mistake in unread[0].items() if all(key in of_job for of_job in unread)]
        mistakes = mistakes or interval_mistakes(line)
        if not mistakes and usable:
            config.compose([choice.text for choice in next(jobs_of(usable, config.groups))])
    except SettingsError as error:
        mistakes += error.mistakes
    if mistakes:
        raise SettingsError(mistakes)
    return line.arguments, list(dict.fromkeys(remarks))


def interval_mistakes(line: CommandLine) -> list[Mistake]:
    """Intervals where a grid is asked for: only a search draws from them. And a search that has nothing to draw."""
    if any(override.key_or_group == SWEEPER for override in line.overrides):
        if any(override.is_sweep_override() for override in line.overrides):
            return []
        return [Mistake("sweep.search", None, "has nothing to draw; add KEY=interval(LOW, HIGH) or KEY=VALUE,VALUE")]
    drawn = [override for override in line.overrides if isinstance(override.value(), IntervalSweep)]
    reason = "an interval is drawn from by a search; add sweep.search.trials=20, or list values"
    return [Mistake(override.key_or_group, override.input_line.partition("=")[2], reason) for override in drawn]


class _Config:
    """The config directories that a command line composes from."""

    def __init__(self, line: CommandLine, config_name: str):
        """Raises SettingsError for a directory that is not there."""
        self.name = line.options.get("--config-name", config_name).removesuffix(".yaml")
        self.directory = Path(os.path.abspath(line.options.get("--config-path") or CONF))
        further = line.options.get("--config-dir")
        self.searchpath = [Path(os.path.abspath(further))] if further else []
        self.directories = [self.directory, *self.searchpath]
        if missing := [path for path in self.directories if not path.is_dir()]:
            raise SettingsError(Mistake("config directory", str(path), "no such directory") for path in missing)
        self.groups = {
            group: options for group, options in groups_of(self.directories).items() if config_name != "evaluate" or group in OWN_GROUPS
        }
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: list[str]) -> DictConfig:
        """Raises SettingsError with Hydra's own words, or with the place where a file is no YAML or not UTF-8."""
        try:
            return compose_config(self.name, overrides, self.directory, self.searchpath)
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise SettingsError([Mistake("conf", None, f"not YAML: {reason}" if isinstance(error, yaml.YAMLError) else reason)]) from None
        except UnicodeDecodeError:
            files = [path for directory in self.directories for path in directory.rglob("*.yaml")]
            foreign = [path for path in files if "\ufffd" in path.read_text(encoding="utf-8", errors="replace")]
            raise SettingsError(Mistake("conf", None, f"{path} is not UTF-8") for path in foreign) from None

    def composed(self, job: Sequence[Choice], mistakes: list[Mistake]) -> DictConfig:
        """The config of a job. Composing reads files: it is done once per choice of options, then values are put in.

        All jobs of a sweep set the same keys, so the composed config is used again, unless a mapping is merged. Values
        that do not fit where they are put are added to `mistakes`.
        """
        options = tuple(choice.text for choice in job if choice.key in self.groups)
        if options not in self._composed:
            self._composed[options] = self.compose(list(options))
        cfg = self._composed[options]
        if any(isinstance(choice.value, dict) for choice in job):
            cfg = deepcopy(cfg)
        for choice in job:
            if choice.key not in self.groups and not choice.key.startswith("hydra"):
                try:
                    OmegaConf.update(cfg, choice.key, choice.value, merge=True, force_add=True)
                except OmegaConfBaseException as error:
                    mistakes.append(Mistake(choice.key, written(choice.value), str(error).splitlines()[0]))
        return cfg

    def usable_overrides(self, line: CommandLine, keys: set[str], mistakes: list[Mistake]) -> list:
        """The overrides whose keys and options exist; what is wrong with the others is added to `mistakes`."""
        chosen = [override for override in line.overrides if override.key_or_group in self.groups]
        options = [override for override in chosen if not override_mistake(override, self.groups, keys, line.is_sweep)]
        cfg = self.composed(next(jobs_of(options, self.groups)), mistakes)
        known = keys | {key for key, _ in nodes(OmegaConf.to_container(cfg, resolve=False))}
        usable, foreign = [], groups_of([CONF]).keys() - self.groups.keys()
        for override in line.overrides:
            mistake, key = override_mistake(override, self.groups, known, line.is_sweep), override.key_or_group
            is_option = key in foreign and not isinstance(override.value(), dict)
            if self.name == "evaluate" and (is_option or (key not in keys and (key.startswith("train.") or key in keys_of(Settings)))):
                reason = f"unknown key: one of train.py; evaluate.py has {', '.join(hints_of(EvaluateSettings))}"
                mistake = Mistake(key, override.input_line.partition("=")[2], reason)
            elif self.name == "evaluate" and override.is_sweep_override():
                mistake = Mistake(key, override.input_line.partition("=")[2], "several values make a sweep of train.py; do not add -m")
            mistakes += [mistake] if mistake else []
            usable += [] if mistake else [override]
        return usable


def _place_mistakes(settings: Any, wrong: Sequence[str], job: Sequence[Choice], line: CommandLine) -> list[Mistake]:
    """What forbids starting here and now: the run directory, resume and reproduce, the number of processes."""
    given = {choice.key: choice.value for choice in job}
    asked = str(given.get("output_dir") or "")
    resume, mistakes = getattr(settings, "resume", None), []
    named = [key for key in INHERITING if given.get(key) not in ((None, "auto") if key == "resume" else (None,))]
    if len(named) > 1:
        mistakes.append(Mistake(named[1], written(given[named[1]]), f"cannot be given with {named[0]}=; each takes over a run's settings"))
    if resume not in (None, "auto"):
        if line.is_sweep:
            mistakes.append(Mistake("resume", resume, "is one run; to continue a sweep, add resume=auto to its command"))
        elif asked and find_directory(asked) != find_directory(resume):
            mistakes.append(Mistake("output_dir", asked, f"a run continues in its own directory, resume={resume}"))
    elif resume is None and is_main_process() and "output_dir" not in wrong and settings.output_dir:
        path = os.path.abspath(asked) if asked else settings.output_dir
        if fault := output_fault(path):
            mistakes.append(Mistake("output_dir", path, fault))
    only_looks = getattr(settings, "dry_run", False) or getattr(settings, "plan", None)
    if not only_looks and not any(key.startswith("hardware") for key in wrong):
        hardware = settings.hardware
        found = launch_mistakes(hardware.name, hardware.num_processes, hardware.accelerate_config)
        mistakes += [Mistake("launch", None, fault) for fault in found]
    return mistakes
