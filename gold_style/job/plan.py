"""What a run would do, before it does it: `python train.py dry_run=true`.

Prints the plan, token counts and, for one row per style side by side, exactly what the student and what the teacher read, with the
tokens that are scored marked. Then the teacher is tried (gold_style/job/teacher_check.py), which is what loads weights.
"""

import math

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gold_style.chat import stop_ids, template_stop_id
from gold_style.config.settings import Settings
from gold_style.job.inputs import Inputs
from gold_style.job.teacher_check import try_teacher
from gold_style.prompts import Prompt
from gold_style.runs.progress import Progress
from gold_style.show.answers import tag_text

SCORED = "black on green"
PLACEHOLDER = "〈the student's own completion〉"


def dry_run(settings: Settings) -> float:
    """Check everything, print the plan, and have the teacher answer. Trains nothing and leaves nothing; returns NaN.

    Raises ValueError for the user's mistakes.
    """
    inputs = Inputs.load(settings)
    print_plan(inputs)
    with Progress() as progress:
        try_teacher(inputs, progress)
    return math.nan


def print_plan(inputs: Inputs) -> None:
    """Print the plan to stdout."""
    console = Console()
    console.print(_plan(inputs))
    for note in inputs.source.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    for prompt in _shown(inputs):
        console.print(_side_by_side(inputs, prompt))
    console.print("Dry run: nothing is trained and no run directory is made. Marked like ", Text("this", SCORED), ": scored tokens.")


def _plan(inputs: Inputs) -> Table:
    settings = inputs.settings
    loss, steps, rows_per_step = settings.loss, inputs.num_steps, inputs.rows_per_step
    rows = [*inputs.training_prompts()]
    student = sorted(len(inputs.chat.student_ids(prompt)) for prompt in rows)
    teacher = sorted(len(ids.prefix) + len(ids.rest) for ids in map(inputs.chat.teacher_ids, rows))
    prefixes = {tag_text(prompt.tag): len(inputs.chat.teacher_ids(prompt).prefix) for prompt in _shown(inputs)}
    path = "token by token (one tokenizer)" if inputs.same_tokenizer else "over spans of common bytes (two tokenizers)"
    tags = ", ".join(f"<style:{tag}>" for tag in inputs.pack.tags)
    rows_text = f"{inputs.source.num_rows} training rows" if inputs.source.num_rows else "unlimited rows"
    longest = settings.train["max_completion_length"]
    facts = {
        "run directory": settings.output_dir,
        "pair": f"{settings.model.teacher} -> {settings.model.student} ({settings.model.dtype})",
        "styles": f"{inputs.pack.name}: {tags} (teacher prompt {inputs.pack.teacher_prompt})",
        "prompts": f"{settings.prompts.source}, {rows_text}, {inputs.source.untagged_share:.1%} of them without a tag",
        "held out": f"{len(inputs.source.evaluation())} requests for the summary, {len(inputs.source.selection())} for live evaluation",
        "loss": f"{loss.kind}, beta {loss.beta}, lmbda {loss.lmbda}, seq_kd {str(loss.seq_kd).lower()}, compared {path}",
        "steps": f"{steps} x {rows_per_step} rows = {steps * rows_per_step:,} completions of at most {longest} tokens",
        "student prompt": f"{student[0]} to {student[-1]} tokens, median {student[len(student) // 2]}",
        "teacher prompt": f"{teacher[0]} to {teacher[-1]} tokens, median {teacher[len(teacher) // 2]}; system text read once: "
        + ", ".join(f"{tag} {tokens}" for tag, tokens in prefixes.items()),
        "optimizer": f"{settings.train['optim']}, learning rate {settings.train['learning_rate']}",
    }
    table = Table(box=box.SIMPLE, show_header=False, title="plan", title_justify="left")
    for name, fact in facts.items():
        table.add_row(Text(name), Text(str(fact)))
    return table


def _side_by_side(inputs: Inputs, prompt: Prompt) -> Table:
    table = Table(box=box.ROUNDED, title=tag_text(prompt.tag), title_justify="left", expand=True)
    cells = []
    for side, tokenizer, text in (
        ("student reads", inputs.chat.student_tokenizer, inputs.chat.student_text(prompt)),
        ("teacher reads", inputs.chat.teacher_tokenizer, inputs.chat.teacher_text(prompt)),
    ):
        stop = tokenizer.convert_ids_to_tokens(template_stop_id(tokenizer, stop_ids(tokenizer)))
        completion = PLACEHOLDER if inputs.settings.loss.lmbda > 0 or prompt.reference is None else prompt.reference
        table.add_column(f"{side} ({len(tokenizer(text, add_special_tokens=False)['input_ids'])} tokens)", ratio=1, overflow="fold")
        cells.append(Text.assemble(text, (completion + stop, SCORED)))
    table.add_row(*cells)
    return table


def _shown(inputs: Inputs) -> list[Prompt]:
    """The first training row of each tag, and of none if there are such; a row of another tag asked under it where there is none."""
    first: dict[str | None, Prompt] = {}
    for prompt in inputs.training_prompts():
        first.setdefault(prompt.tag, prompt)
    untagged = [first[None]] if None in first else []
    return [first.get(tag) or next(iter(first.values())).under(tag, tag) for tag in inputs.pack.tags] + untagged
