"""Typed settings: a DictConfig that Hydra composed from conf/ goes in, the dataclasses of gold_style/config/schema.py come out.

Importing this module registers the node `schema` that opens `train.*`, so import it before Hydra's `compose`.

    settings = Settings.from_config(cfg)              # on the first line of main
    settings = Settings.compose("loss.beta=0.5")      # in a test or a notebook
    settings = Settings.load(run_directory)           # what a run was made with
"""

import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from gold_style import PACKAGE, PROJECT
from gold_style.config import gold_config, schema
from gold_style.config.as_before import as_before
from gold_style.config.inheritance import INHERITING, inherited
from gold_style.config.launch import run_stamp
from gold_style.config.losses import DEFAULTS, Loss, loss_lines, reads
from gold_style.config.mirror import Mistake, keys_of, mirror, nodes
from gold_style.config.schema import Adjustable, Beside, Role, Seed
from gold_style.config.yaml_file import read_mapping

CONF = PROJECT / "conf"
ROW_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")  # of the files that prompts=jsonl reads
EVALUATION_PROMPTS = "data/evaluation_prompts.jsonl"  # requests that a bare model is asked


class SettingsError(ValueError):
    """Settings that cannot be run with; the text names each with its value and what is allowed."""

    def __init__(self, mistakes: Iterable[Mistake]):
        self.mistakes = [mistake for mistake in dict.fromkeys(mistakes) if not mistake.repeats]
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def sound(settings: Any, mistakes: Sequence[Mistake]) -> Any:
    """`settings`. Raises SettingsError where there are mistakes in them."""
    if mistakes:
        raise SettingsError(mistakes)
    return settings


class Composed:
    """What Settings and EvaluateSettings have in common: out of a config, and into a plain mapping and back."""

    CONFIG_NAME: ClassVar[str]

    @classmethod
    def from_config(cls, cfg: DictConfig, overrides: Sequence[str] | None = None) -> Self:
        """The settings of a composed config; in a job of a sweep, `output_dir` is the job's own directory.

        `overrides`: the command line that composed it; None asks Hydra. Raises SettingsError, a ValueError, naming every value
        that is wrong.
        """
        return sound(*cls.read(cfg, overrides))

    @classmethod
    def read(cls, cfg: DictConfig, overrides: Sequence[str] | None = None) -> tuple[Self, list[Mistake]]:
        """The settings of a composed config and what is wrong with them; wrong fields keep the value they came with."""
        try:
            mapping = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
        except OmegaConfBaseException as error:
            if missing := str(error).splitlines()[0].partition("Missing mandatory value: ")[2]:  # which another value is taken from
                raise SettingsError([Mistake(missing, None, "must be given")]) from None
            reason = f"{str(error).splitlines()[0]}; to mean the characters themselves, write \\${{ for ${{"
            raise SettingsError([Mistake(error.full_key or "conf", None, reason)]) from None
        try:
            mapping["output_dir"] = _output_directory(mapping)
        except ValueError as error:
            raise SettingsError([Mistake("output_dir", None, str(error))]) from None
        settings, mistakes = cls.from_mapping(mapping)
        if mistakes:
            wrong, unresolved = {mistake.key for mistake in mistakes}, dict(nodes(OmegaConf.to_container(cfg, resolve=False)))
            sources = {key: str(unresolved.get(key)).removeprefix("${").removesuffix("}") for key in wrong}
            mistakes = [replace(mistake, repeats=sources[mistake.key] in wrong) for mistake in mistakes]
        return settings, mistakes

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> tuple[Self, list[Mistake]]:
        """As `read`, from a plain mapping without interpolations."""
        if isinstance(pack := mapping.get("styles"), dict):
            pack.setdefault("language", "ko")  # a pack of before there was the key; evaluate.py has no default
        settings, mistakes = mirror(cls, mapping)
        train = getattr(settings, "train", None)
        mistakes += gold_config.mistakes_in(train) if isinstance(train, dict) else []
        return settings, mistakes

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> Self:
        """The settings that `to_dict` gave. Raises SettingsError for what this version does not know."""
        return sound(*cls.from_mapping(mapping))

    @classmethod
    def load(cls, run: str | os.PathLike) -> Self:
        """The settings a run was made with, from its config.yaml; keys that it was made without have the values of AS_BEFORE.

        Raises ValueError where that cannot be read.
        """
        mapping = as_before(read_mapping(Path(run) / "config.yaml"))
        settings, mistakes = cls.from_mapping(mapping)
        return cls.from_dict(with_defaults(mapping, cls.compose().to_dict())) if mistakes else settings

    @classmethod
    def compose(cls, *overrides: str) -> Self:
        """The settings of a command line, without running it."""
        return cls.from_config(compose_config(cls.CONFIG_NAME, list(overrides)), overrides)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain mappings, lists and scalars: what a run's config.yaml holds. Without what only other losses read, so
        that the run can be read where one of those is no more."""
        mapping = asdict(self)
        if loss := mapping.get("loss"):
            own = {name: value for name, value in loss.items() if f"loss.{name}" not in DEFAULTS or reads(loss["kind"], name)}
            mapping["loss"] = own
        return mapping


@dataclass(kw_only=True)
class Settings(Composed):
    """Everything that `python train.py` was asked for."""

    CONFIG_NAME: ClassVar[str] = "config"

    seed: Seed
    output_dir: Beside[str]
    resume: Beside[str | None]
    extend: str | None
    reproduce: Beside[str | None]
    dry_run: Beside[bool]
    plan: Beside[schema.Card | None]
    objective: Adjustable[str | None]
    on_nonfinite: Adjustable[Literal["stop", "skip"]]
    on_collapse: Adjustable[Literal["warn", "stop"]]
    grace_s: Adjustable[schema.Weight]
    sweep: Beside[schema.Sweep]
    cache: Beside[schema.Cache]
    model: schema.Model
    prompts: schema.Prompts
    styles: schema.Styles
    loss: Loss
    train: dict[str, Any]  # only the fields of GOLDConfig that were set, under TRL's names
    hardware: schema.Hardware
    teacher_backend: schema.TeacherBackend
    evaluation: schema.Evaluation
    tracker: Beside[schema.Tracker]

    @classmethod
    def read(cls, cfg: DictConfig, overrides: Sequence[str] | None = None) -> tuple[Self, list[Mistake]]:
        """As Composed.read; with resume, extend and reproduce, the settings are those of the run, and changes that it does not allow
        are mistakes."""
        settings, mistakes = super().read(cfg, overrides)
        key = next((key for key in INHERITING if getattr(settings, key) not in (None, "auto")), None)
        if mistakes or key is None or not ((run := find_directory(getattr(settings, key))) / "config.yaml").is_file():
            return settings, mistakes
        if overrides is None:
            overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
        try:
            own = cls.load(run).to_dict()
        except ValueError as error:
            return settings, [Mistake(key, getattr(settings, key), str(error))]
        # a new run has a place of its own, and is followed as the run that it repeats or extends
        kept = (key, "output_dir", "dry_run", "plan", *((*({*BESIDE} - {"tracker"}), "tracker.run_name") if key != "resume" else ()))
        free = (*ADJUSTABLE, *(BESIDE if key != "reproduce" else ()), *FURTHER.get(key, ()))
        mapping, mistakes = inherited(key, settings.to_dict() | {key: str(run)}, _defaults(), own, overrides, kept, free)
        if key == "extend" and (mapping["train"].get("max_steps") or -1) > 0:
            mapping["train"].pop("num_train_epochs", None)
        settings, found = cls.from_mapping(mapping)
        return settings, [*mistakes, *found]


BESIDE = tuple(keys_of(Settings, Role.BESIDE))
ROWS = ("train.per_device_train_batch_size", "train.gradient_accumulation_steps")  # x processes: the rows of a step
FURTHER = {"extend": ("train.max_steps", "evaluation.early_stop_margin"), "resume": ROWS}  # may be changed besides; the rows may not
ADJUSTABLE = (*keys_of(Settings, Role.ADJUSTABLE), *(f"train.{name}" for name in gold_config.ADJUSTABLE))


@dataclass(kw_only=True)
class EvaluateSettings(Composed):
    """Everything that `python evaluate.py` was asked for; null means the run's own. `for_target` fills that in."""

    CONFIG_NAME: ClassVar[str] = "evaluate"

    target: str
    request: str | None
    tags: list[str | None] | None
    teacher: str | None
    seed: Seed | None
    output_dir: str | None  # None: one request, whose answers are only printed
    model: schema.EvaluateModel
    prompts: schema.EvaluatePrompts
    styles: schema.Styles | None
    hardware: schema.Hardware
    evaluation: schema.Scoring

    @classmethod
    def read(cls, cfg: DictConfig, overrides: Sequence[str] | None = None) -> tuple[Self, list[Mistake]]:
        """As Composed.read; what the option of a card says about training is left out."""
        cfg = deepcopy(cfg)
        with open_dict(cfg):
            cfg.pop("train", None)
            for name in ("lora", "student_quantization") if isinstance(cfg.model, DictConfig) else ():
                cfg.model.pop(name, None)
        return super().read(cfg, overrides)

    def for_target(self, run: Settings | None) -> Settings:
        """The settings to score with: those of the target's run (None: a bare model), and what was asked for here.

        `output_dir`, `hardware` and the scoring are this command's; so are prompts and styles where they were named. A
        bare model without `prompts.source` is asked EVALUATION_PROMPTS; that is the caller's to read.
        """
        base = run or Settings.compose("tracker=none")
        also = ("eval_samples", "student_system_prompt", "teacher_system_prompt", "max_prompt_tokens")  # of the run's own prompts
        named = self.prompts.source is not None
        asked = {name: value for name, value in vars(self.prompts).items() if named or (name in also and value is not None)}
        scoring = {name: value for name, value in vars(self.evaluation).items() if value is not None}
        bare = {"name": self.target, "student": self.target, "student_revision": self.model.revision} if run is None else {}
        return replace(
            base,
            output_dir=self.output_dir,
            seed=base.seed if self.seed is None else self.seed,
            **dict.fromkeys(INHERITING),
            model=replace(
                base.model,
                **bare,
                dtype=self.model.dtype or base.model.dtype,
                teacher_quantization=self.model.teacher_quantization or base.model.teacher_quantization,
                trust_remote_code=self.model.trust_remote_code or base.model.trust_remote_code,
            ),
            prompts=replace(base.prompts, **asked),
            styles=self.styles or base.styles,
            hardware=self.hardware,
            teacher_backend=replace(base.teacher_backend, kind="local"),
            cache=replace(base.cache, dir=None),
            evaluation=replace(base.evaluation, **scoring),
        )


@cache
def register() -> None:
    """Make `schema` (open mappings `train` and `loss`) and two resolvers known to Hydra: a sweep's directory, and the keys of losses."""
    node = OmegaConf.create({"train": {}, "loss": {}})
    OmegaConf.set_struct(node.train, False)
    OmegaConf.set_struct(node.loss, False)
    ConfigStore.instance().store(name="schema", node=node)
    OmegaConf.register_new_resolver("sweep_directory", lambda path: path or default_directory(), replace=True)
    OmegaConf.register_new_resolver("loss_lines", loss_lines, replace=True)


def compose_config(config_name: str, overrides: Sequence[str], directory: Path = CONF, searchpath: Sequence[Path] = ()) -> DictConfig:
    """The config that a command line composes. Raises Hydra's exceptions; `searchpath`: further config directories."""
    extra = [f"hydra.searchpath=[{','.join(f'file://{path}' for path in searchpath)}]"] if searchpath else []
    outer = GlobalHydra.instance()
    running, outer.hydra = outer.hydra, None  # evaluate.py composes the default settings within its own Hydra job
    try:
        with initialize_config_dir(str(directory), version_base="1.3"):
            return compose(config_name, [*overrides, *extra])
    finally:
        outer.hydra = running


def with_defaults(mapping: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """`mapping` with the keys of `defaults` that it lacks: those that came before the table of gold_style.config.as_before.
    `train` and `styles` are whole as they are."""
    filled = dict(mapping)
    for key, value in defaults.items():
        if key not in filled:
            filled[key] = value
        elif isinstance(value, dict) and isinstance(filled[key], dict) and key not in ("train", "styles"):
            filled[key] = with_defaults(filled[key], value)
    return filled


@cache
def _defaults() -> dict[str, Any]:
    return Settings.compose().to_dict()


def in_sweep() -> bool:
    """Whether this is a job of a Hydra multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def default_directory() -> str:
    """Where a sweep goes when nothing is said, relative to the working directory: multirun/<date>/<time>."""
    return f"multirun/{run_stamp()}"


def _output_directory(mapping: dict[str, Any]) -> str | None:
    """The absolute directory of this run: as asked for, the job's own in a sweep, or a new one under multirun/; one request has none."""
    if in_sweep():
        return os.path.abspath(HydraConfig.get().runtime.output_dir)
    if isinstance(mapping.get("resume"), str) and mapping["resume"] != "auto":
        return str(find_directory(mapping["resume"]))
    leaf = "evaluate" if "target" in mapping else "0"
    asked = mapping.get("output_dir")
    if asked is None and mapping.get("request") is not None:
        return None
    return os.path.abspath(str(asked) if asked is not None else f"{default_directory()}/{leaf}")


def local_model(name: str) -> str:
    """What from_pretrained is given for `model.teacher` or `model.student`: an absolute directory, or a hub name."""
    path = find_directory(name)
    return str(path) if os.path.isdir(path) else name


def row_suffix(path: str | os.PathLike) -> str | None:
    """Which of ROW_SUFFIXES a file name has, in front of .gz where that comes last; None: another one."""
    suffix = Path(os.fspath(path).lower().removesuffix(".gz")).suffix
    return suffix if suffix in ROW_SUFFIXES else None


def find_directory(text: str) -> Path:
    """An absolute path; a relative one is looked up from the working directory, then from the project's root."""
    path = Path(os.path.expanduser(text))  # Path's own raises where there is no such user
    root = PACKAGE.parent if path.parts[:1] == (PACKAGE.name,) else PROJECT
    if path.is_absolute() or os.path.exists(path) or not os.path.exists(root / path):
        return Path(os.path.abspath(path))
    return root / path


register()
