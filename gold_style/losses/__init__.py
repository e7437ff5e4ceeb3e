"""What a student is trained with. A loss is one module here and one YAML in conf/loss; `loss.kind` names the module. It has

    @dataclass(kw_only=True)
    class Options:                       # what it reads under `loss.`; annotations are types of gold_style/config/schema.py
        tail_k: Count = 64               # its own key: with a default, and a line with its unit in the YAML
        temperature: Positive            # a key of conf/config.yaml: without one; `class Options(Beta)` and `(Uld)` read beta and uld_*

    def build(options: Options) -> TokenLoss:                                       # where both models have one tokenizer
    def build_spans(options: Options, student: Side, teacher: Side) -> SpanLoss:    # where they have two; left out if it cannot

`class Options` is read from the source before torch is imported (gold_style/config/losses.py), so it uses no other names. A loss with a
`beta` is a dataclass with a field of that name, which is replaced as a schedule moves. Example: jsd.py.

A TokenLoss is called (student_logits_NV, teacher_logits_NV) -> loss of each token, (N,): N scored tokens, V the vocabulary of both. The
logits are divided by their temperatures already; the caller weights and sums. A plain function will do. It may have

- `reads`, names of what it is handed besides as keyword arguments: "completion_N", the ids that were written;
- `fused`, a method with the arguments of `fused_jsd` without beta, called instead where both heads are plain matrices.

Options may say `readings = {"bare": "contrast_strength"}`: "bare", the teacher without its context, is read at the same tokens, unless
that key is 0. The loss gets `bare_logits_NV`, its fused form `bare`, hidden states.

A SpanLoss is over spans between common byte boundaries of two tokenizers. `units(span, student_ids)` says how many losses a span has;
`per_unit` takes logits of both sides, their ids, the spans and the lengths of the teacher's rows, as in uld.py, and gives the loss of
each unit and further terms that are logged, detached.
"""

from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from gold_style.tokens.token_bytes import TokenBytes

TokenLoss = Any  # as said above
SpanLoss = Any


class Side(NamedTuple):
    """One model's tokenizer, its tokens as bytes, and where its answers stop: any of `stop_ids`; the template writes `stop_id`."""

    tokenizer: PreTrainedTokenizerBase
    bytes: TokenBytes
    stop_ids: tuple[int, ...]
    stop_id: int


def applied(options: Any) -> dict[str, float]:
    """What the options say that is applied around the maths: temperatures of the logits, and the weights of cross-entropy and distance."""
    both = getattr(options, "temperature", getattr(options, "uld_student_temperature", 1.0))
    usual = {"student_temperature": both, "teacher_temperature": both, "crossentropy_weight": 0.0, "distillation_weight": 1.0}
    return {name: getattr(options, f"uld_{name}", default) for name, default in usual.items()}


def skips_stop(options: Any) -> bool:
    """Whether stop tokens are left out: a stop is one event on either side."""
    return getattr(options, "uld_skip_student_eos", False) or getattr(options, "uld_skip_teacher_eos", False)
