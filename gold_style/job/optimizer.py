"""Optimizer and schedule as transformers builds them, tried on a toy weight before any model is loaded.

optimizer_mistakes(settings, num_steps=160)     # [] | ["train.optim_args=momentun=0.9: ..."]
"""

import copy
import inspect

import torch
from transformers import Trainer
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, SchedulerType, get_scheduler
from trl.experimental.gold import GOLDConfig

from gold_style import did_you_mean
from gold_style.config.settings import Settings
from gold_style.job.build import gold_config

OF_SOME = ("optim_args", "adam_beta1", "adam_beta2", "adam_epsilon")  # fields that only some optimizers read


def optimizer_mistakes(settings: Settings, num_steps: int) -> list[str]:
    """What cannot work, or would do nothing, of `train.optim`, its arguments, and the schedule."""
    if mistakes := schedule_mistakes(settings.train):
        return mistakes
    try:
        args = gold_config(settings, "unused", num_steps)
        _try(args, num_steps)
        return [] if settings.train["optim"] == "muon" else idle_fields(args, settings.train)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:  # what the libraries raise for arguments that they do not take
        names = [name for name in ("optim", "optim_args", "lr_scheduler_type", "lr_scheduler_kwargs") if settings.train.get(name)]
        given = " ".join(f"train.{name}={settings.train[name]}" for name in names)
        return [f"{given}: {' '.join(str(error).split())}"]


def idle_fields(args: GOLDConfig, train: dict) -> list[str]:
    """A line for each field, or argument of `optim_args`, that this optimizer does not read."""
    given = [(name, value) for name in OF_SOME for value in str(train.get(name) or "").split(",") if value]
    found = []
    for name, value in given:
        variants = [copy.copy(args), copy.copy(args)]
        for variant, other in zip(variants, (value, None) if name == "optim_args" else (0.25, 0.5), strict=True):
            setattr(variant, name, other)
        first, second = map(Trainer.get_optimizer_cls_and_kwargs, variants)
        if first == second:
            found.append(f"train.{name}={value}: train.optim={train['optim']} does not read it; leave it out")
    return found


def _try(args: GOLDConfig, num_steps: int) -> None:
    """One step of a toy weight. Raises what the libraries raise."""
    weight = torch.nn.Parameter(torch.ones(2, 2, device=args.device))
    weight.grad = torch.ones_like(weight)
    kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
    optimizer = kind([weight], **options)
    get_scheduler(args.lr_scheduler_type, optimizer, args.get_warmup_steps(num_steps), num_steps, args.lr_scheduler_kwargs)
    optimizer.step()


def schedule_mistakes(train: dict) -> list[str]:
    """Arguments of train.lr_scheduler_kwargs that the schedule does not take, or needs and is not given."""
    given, name = train.get("lr_scheduler_kwargs"), train.get("lr_scheduler_type", "linear")
    if not isinstance(given, dict) or name in ("constant", "constant_with_warmup"):
        return []
    parameters = inspect.signature(TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(name)]).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return []
    filled = ("optimizer", "num_warmup_steps", "num_training_steps")
    takes = [parameter for parameter in parameters if parameter not in filled]
    needs = [parameter for parameter in takes if parameters[parameter].default is inspect.Parameter.empty]
    where, allowed = f"train.lr_scheduler_kwargs={given}: train.lr_scheduler_type={name}", ", ".join(takes) or "nothing"
    wrong = [f"{where} takes no {key}{did_you_mean(key, takes)}; it takes {allowed}" for key in given if key not in takes]
    return wrong + [f"{where} needs {key}" for key in needs if key not in given]
