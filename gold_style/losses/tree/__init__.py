"""The `tree` loss: the distribution of a teacher with another tokenizer, byte by byte.

Start with the docstring of loss.py, which has the maths. Then: plan.py (which tokens take part where), lifting.py (what a
piece of teacher text can become in student tokens), spread.py (the probabilities). slots.py holds what they pass on. The
same maths, one token at a time: tests/helpers/slow_losses.py.
With one tokenizer it is the divergence of jsd.
"""

from dataclasses import dataclass

from gold_style.config.schedule import at_step
from gold_style.config.schema import Beta, Positive
from gold_style.losses import Side, jsd, skips_stop
from gold_style.losses.tree.lifting import Lifting
from gold_style.losses.tree.loss import Tree


@dataclass(kw_only=True)
class Options(Beta):
    """`uld_student_temperature` is of both sides: what the teacher leaves open gets the student's proportions."""

    uld_student_temperature: Positive
    uld_skip_student_eos: bool
    uld_skip_teacher_eos: bool


def build(options: Options) -> jsd.Divergence:
    """For one tokenizer."""
    return jsd.build(options)


def build_spans(options: Options, student: Side, teacher: Side) -> Tree:
    """For two tokenizers."""
    lifting = Lifting(student.tokenizer, teacher.tokenizer, student.stop_ids, teacher.stop_ids)
    temperature, skip_stop = options.uld_student_temperature, skips_stop(options)
    return Tree(lifting=lifting, beta=at_step(options.beta, 0), temperature=temperature, skip_stop=skip_stop)
