"""`loss.kind=uld_hybrid`: universal logit distillation as TRL's GOLD does it; maths in uld.py. With one tokenizer it is the divergence."""

from dataclasses import dataclass

from gold_style.config.schedule import at_step
from gold_style.config.schema import Beta, Uld, Weight
from gold_style.losses import Side, jsd, uld


@dataclass(kw_only=True)
class Options(Uld, Beta):
    """`beta` is of the tokens that both vocabularies have."""

    uld_hybrid_matched_weight: Weight | None
    uld_hybrid_unmatched_weight: Weight | None


def build(options: Options) -> jsd.Divergence:
    """For one tokenizer."""
    return jsd.build(options)


def build_spans(options: Options, student: Side, teacher: Side) -> uld.ULD:
    """For two tokenizers."""
    weights = {name: getattr(options, f"uld_hybrid_{name}") for name in ("matched_weight", "unmatched_weight")}
    return uld.build_spans(options, student, teacher, hybrid=True, beta=at_step(options.beta, 0), **weights)
