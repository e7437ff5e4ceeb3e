"""What has to hold between settings: combinations that cannot work, files that are missing, keys that would do nothing.

Each rule names the keys it reads and gets their values; it returns None, or what is wrong with the first of them. A
rule is left out where one of its values is wrong by itself, so that one mistake is not reported twice. Rules without arithmetic
are in rules.yaml.

    mistakes = rule_mistakes(settings) + file_mistakes(settings)
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gold_style import did_you_mean
from gold_style.config.gold_config import entry_of, train_fields
from gold_style.config.losses import KEYS, LOSSES, reads
from gold_style.config.mirror import Mistake, written
from gold_style.config.yaml_file import read_mapping
from gold_style.speech.languages import held_out_lacks
from gold_style.styles import StylePack
from gold_style.verdicts import label_mistakes

SUMMARY_KEYS = ("before", "after", "teacher", "gap_closed", "steps", "train_seconds")
STYLE_KEYS = ("chosun_rate", "leakage", "untagged", "margin", "content", "degenerate", "ambiguous", "rates", "prompts")
STEADY_SCHEDULES = ("constant", "constant_with_warmup", "inverse_sqrt")  # whose rates do not depend on train.max_steps
TABLE = read_mapping(Path(__file__).with_suffix(".yaml"))
RULES: list[tuple[tuple[str, ...], Callable[..., str | None]]] = []


def rule(*keys: str) -> Callable:
    """Registers a rule under the keys whose values it takes."""

    def register(function: Callable[..., str | None]) -> Callable[..., str | None]:
        RULES.append((keys, function))
        return function

    return register


def rule_mistakes(settings: Any, wrong: Iterable[str] = ()) -> list[Mistake]:
    """Every combination that cannot work. `wrong` are keys wrong by themselves: their rules are left out."""
    wrong, mistakes = set(wrong), []
    for keys, function in RULES:
        values = [value_at(settings, key) for key in keys]
        if not wrong.intersection(keys) and ABSENT not in values and (reason := function(*values)):
            mistakes.append(Mistake(keys[0], written(values[0]), reason))
    if value_at(settings, "styles") not in (ABSENT, None) and not any(key.startswith("styles") for key in wrong):
        mistakes += _pack_mistakes(settings.styles)
    return mistakes


ABSENT = object()


def value_at(settings: Any, key: str) -> Any:
    """The value under a dotted key; ABSENT where these settings have no such key. Unset train fields are None."""
    for word in key.split("."):
        settings = settings.get(word) if isinstance(settings, dict) else getattr(settings, word, ABSENT)
    return settings


def _pack_mistakes(styles: Any) -> list[Mistake]:
    try:
        lines = label_mistakes(StylePack.from_settings(styles))
    except ValueError as error:
        lines = str(error).splitlines()
    except (AttributeError, KeyError, TypeError) as error:
        return [Mistake("styles", None, f"has not the shape of a style pack: {error}")]
    pairs = (line.partition(": ") for line in lines)
    return [Mistake(key if key.startswith("styles") else f"styles.{key}", None, reason) for key, _, reason in pairs]


@rule("train.num_generations", "train.per_device_train_batch_size", "train.gradient_accumulation_steps")
def generations_fill_the_window(num_generations, batch, accumulation):
    rows = (batch or 1) * (accumulation or 1)
    if num_generations and rows % num_generations:
        return f"must divide the rows of one step of one process, {batch} x {accumulation} = {rows}"


@rule("loss.warm_start_steps", "train.max_steps")
def a_warm_start_ends(warm_start_steps, max_steps):
    if max_steps and 0 < max_steps <= warm_start_steps:
        return f"leaves no step after the warm start; train.max_steps={max_steps} must be larger"


def combination(when: dict[str, str], reason: str) -> Callable[..., str | None]:
    """A rule of rules.yaml: `reason` where each value is one of those given under its key."""
    return lambda *values: reason.format(*map(written, values)) if all(map(is_among, values, when.values())) else None


def is_among(value: Any, patterns: str) -> bool:
    """Whether a value is one of `patterns` between spaces; after a "!", whether it is none of them."""
    return (entry_of(written(value), {"": patterns.removeprefix("!")}) is None) == patterns.startswith("!")


def needs_a_package(packages: dict[str, str]) -> Callable[..., str | None]:
    """A rule for a key of which some values need a package: package -> patterns of values."""

    def fault(value):
        package = entry_of(str(value), packages)
        if package and find_spec(package) is None:
            return f"needs the package {package}, which is not installed: pip install {package}"

    return fault


for key, packages in train_fields()["packages"].items():
    rule(key)(needs_a_package(packages))
for entry in TABLE["combinations"]:
    rule(*entry["when"])(combination(**entry))


@rule("model.teacher", "model.teachers")
def there_is_one_teacher_or_one_for_each_tag(teacher, teachers):
    if (teacher is None) == (teachers is None):
        both = "is replaced by model.teachers, which is given, too; add model.teacher=null, or leave model.teachers out"
        return both if teacher else "must be given, or else model.teachers={TAG: NAME, ...} with one for each tag"


@rule("model.teachers", "styles.styles")
def every_tag_has_a_teacher(teachers, tags):
    given = [] if teachers is None else [str(tag) for tag in teachers]
    found = [f"{tag} is no tag of the pack, whose tags are {', '.join(tags)}{did_you_mean(tag, tags)}" for tag in given if tag not in tags]
    if teachers is not None and (missing := [tag for tag in tags if tag not in given]):
        found.append(f"needs a teacher for every tag; none is given for {' and '.join(missing)}")
    return "; ".join(found) or None


@rule("hardware.vllm_server", "hardware.rollouts", "teacher_backend.address")
def a_server_has_an_address(address, rollouts, teacher):
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:  # a bracket or a port that is none
        known = False
    if rollouts == "vllm_server" and not known:
        return "must be an address such as http://127.0.0.1:8000, without a password"
    if rollouts == "vllm_server" and f"{teacher}/".startswith(f"{parts.scheme}://{parts.netloc}/"):
        return f"serves the teacher (teacher_backend.address={teacher}), whom the student's weights would replace; start another server"


@rule("objective")
def the_objective_is_a_number_of_the_summary(objective):
    first, *rest = (objective or "after.margin").split(".")
    if first not in SUMMARY_KEYS:
        return f"must be a key of summary.json, beginning with {', '.join(SUMMARY_KEYS)}{did_you_mean(first, SUMMARY_KEYS)}"
    word = rest[0] if rest else ""
    if first in SUMMARY_KEYS[:3] and word not in STYLE_KEYS:
        return f"must continue with one of {', '.join(STYLE_KEYS)}{did_you_mean(word, STYLE_KEYS)}"
    if word == "rates" and len(rest) != 3:
        return f"names a table; a number of it is {first}.rates.TAG.VERDICT, for example {first}.rates.none.modern"


@rule("evaluation.retention", "styles.language")
def retention_has_texts(retention, language):
    return held_out_lacks(language) if retention else None


@rule("request")
def a_request_says_something(request):
    if request is not None and not request.strip():
        return "must not be empty"


@rule("request", "prompts.source", "prompts.eval_samples", "teacher")
def a_request_is_asked_by_itself(request, *others):
    if request is not None and any(other is not None for other in others):
        return "is answered by the target, without scores; leave out prompts=, prompts.eval_samples and teacher="


@rule("loss.kind")
def a_loss_can_be_built(kind):
    return LOSSES[kind].fault


def unread_mistakes(settings: Any, given: Iterable[str]) -> list[Mistake]:
    """Keys of losses that were `given` on the command line although the chosen loss does not read them."""
    kind, mistakes = value_at(settings, "loss.kind"), []
    for group, name, *_ in (f"{key}..".split(".") for key in given):
        if group == "loss" and name in KEYS and not reads(kind, name):
            others = " or ".join(f"loss.kind={other}" for other in LOSSES if reads(other, name))
            reason = f"is not read by loss.kind={kind}, but by {others}"
            mistakes.append(Mistake(f"loss.{name}", written(getattr(settings.loss, name)), reason))
    return mistakes


def untagged_mistakes(settings: Any, given: Iterable[str]) -> list[Mistake]:
    """A share of untagged rows that was `given` on the command line although no row can lose its tag."""
    key, prompts = next((key for key in given if key.endswith(".untagged_share")), None), value_at(settings, "prompts")
    if key is None or not prompts.untagged_share:
        return []
    if prompts.source != "dynamic":
        reason = f"is taken from rows of prompts=dynamic; in those of prompts={prompts.source}, leave the tag out yourself"
    elif prompts.pairing == "independent" and prompts.chosun_probability == (
        settings.styles.untagged != next(iter(settings.styles.styles))
    ):
        reason = (
            f"no row is under styles.untagged={settings.styles.untagged} while prompts.chosun_probability={prompts.chosun_probability:g}"
        )
    else:
        return []
    return [Mistake(key, written(prompts.untagged_share), reason)]


def notes(settings: Any, given: Iterable[str]) -> list[str]:
    """What the user should know but may want: settings `given` on the command line that do nothing beside others."""
    said = [f"{key} has no effect {reason}" for key in given if (reason := _idle(settings, key))]
    loss = value_at(settings, "loss")
    if loss is not ABSENT and loss.seq_kd and loss.lmbda == 1:
        said.append("loss.seq_kd=true has no effect while loss.lmbda=1: the student writes every row")
    if value_at(settings, "extend") not in (ABSENT, None):
        schedule, steps = settings.train["lr_scheduler_type"], settings.train["max_steps"]
        if schedule not in STEADY_SCHEDULES or (schedule != "constant" and 0 < settings.train.get("warmup_steps", 0) < 1):
            reason = f"the steps that extend= adds have the rates of train.max_steps={steps}; one run of that length has other weights"
            said.append(f"train.lr_scheduler_type={schedule} depends on the number of steps: {reason}")
    model = value_at(settings, "model")
    if model is not ABSENT and model is not None and model.trust_remote_code:
        models = (getattr(model, "teacher", None), *(getattr(model, "teachers", None) or {}).values(), getattr(model, "student", None))
        names = " and ".join(dict.fromkeys(filter(None, models)))
        said.append(f"model.trust_remote_code=true: Python code that comes with {names or 'the model'} will be run")
    return said


def _idle(settings: Any, key: str) -> str | None:
    """Why a key does nothing beside the other settings; None where it does something."""
    for keys, other, values in TABLE["idle"]:
        value = value_at(settings, other)
        if value is not ABSENT and key != other and entry_of(key, {other: keys}) and is_among(value, values):
            return f"while {other}={written(value)}"
    return None
