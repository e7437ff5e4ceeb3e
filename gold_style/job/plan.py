"""What a run would do, before it does it: `python train.py dry_run=true`.

Prints the plan, token counts and, for one row per style side by side, exactly what the student and what the teacher read, with the
tokens that are scored marked. The teacher check behind it (gold_style/job/teacher_check.py) is what loads weights.
"""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gold_style.chat import stop_ids, template_stop_id
from gold_style.config.settings import Settings
from gold_style.job.inputs import Parts, num_processes, rows_per_window
from gold_style.prompts import Prompt

SCORED = "black on green"
PLACEHOLDER = "〈the student's own completion〉"


def print_plan(settings: Settings, parts: Parts) -> None:
    """Print the plan to stdout."""
    console = Console()
    console.print(_plan(settings, parts))
    for note in parts.source.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    for prompt in _one_per_style(parts):
        console.print(_side_by_side(settings, parts, prompt))
    console.print("Dry run: nothing is trained and no run directory is made. Marked like ", Text("this", SCORED), ": scored tokens.")


def _plan(settings: Settings, parts: Parts) -> Table:
    rows_per_step = rows_per_window(settings) * num_processes()
    steps, loss = settings.train["max_steps"], settings.loss
    rows = [*parts.training_prompts()]
    student = sorted(len(parts.chat.student_ids(prompt)) for prompt in rows)
    teacher = sorted(len(ids.prefix) + len(ids.rest) for ids in map(parts.chat.teacher_ids, rows))
    prefixes = {style: len(parts.chat.teacher_ids(_of_style(parts, style)).prefix) for style in parts.pack.tags}
    path = "token by token (one tokenizer)" if parts.same_tokenizer else "over spans of common bytes (two tokenizers)"
    tags = ", ".join(f"<style:{tag}>" for tag in parts.pack.tags)
    rows_text = f"{parts.source.num_rows} training rows" if parts.source.num_rows else "unlimited rows"
    longest = settings.train["max_completion_length"]
    facts = {
        "run directory": settings.output_dir,
        "pair": f"{settings.model.teacher} -> {settings.model.student} ({settings.model.dtype})",
        "styles": f"{parts.pack.name}: {tags} (teacher prompt {parts.pack.teacher_prompt})",
        "prompts": f"{settings.prompts.source}, {rows_text}",
        "held out": f"{len(parts.source.evaluation())} requests for the summary, {len(parts.source.selection())} for live evaluation",
        "loss": f"{loss.kind}, beta {loss.beta}, lmbda {loss.lmbda}, seq_kd {str(loss.seq_kd).lower()}, compared {path}",
        "steps": f"{steps} x {rows_per_step} rows = {steps * rows_per_step:,} completions of at most {longest} tokens",
        "student prompt": f"{student[0]} to {student[-1]} tokens, median {student[len(student) // 2]}",
        "teacher prompt": f"{teacher[0]} to {teacher[-1]} tokens, median {teacher[len(teacher) // 2]}; read once per style: "
        + ", ".join(f"{style} {tokens}" for style, tokens in prefixes.items()),
        "optimizer": f"{settings.train['optim']}, learning rate {settings.train['learning_rate']}",
    }
    table = Table(box=box.SIMPLE, show_header=False, title="plan", title_justify="left")
    for name, fact in facts.items():
        table.add_row(Text(name), Text(str(fact)))
    return table


def _side_by_side(settings: Settings, parts: Parts, prompt: Prompt) -> Table:
    table = Table(box=box.ROUNDED, title=f"<style:{prompt.style}>", title_justify="left", expand=True)
    cells = []
    for side, tokenizer, text in (
        ("student reads", parts.chat.student_tokenizer, parts.chat.student_text(prompt)),
        ("teacher reads", parts.chat.teacher_tokenizer, parts.chat.teacher_text(prompt)),
    ):
        stop = tokenizer.convert_ids_to_tokens(template_stop_id(tokenizer, stop_ids(tokenizer)))
        completion = PLACEHOLDER if settings.loss.lmbda > 0 or prompt.reference is None else prompt.reference
        table.add_column(f"{side} ({len(tokenizer(text, add_special_tokens=False)['input_ids'])} tokens)", ratio=1, overflow="fold")
        cells.append(Text.assemble(text, (completion + stop, SCORED)))
    table.add_row(*cells)
    return table


def _one_per_style(parts: Parts) -> list[Prompt]:
    return [_of_style(parts, style) for style in parts.pack.tags]


def _of_style(parts: Parts, style: str) -> Prompt:
    """The first training row of a style; a row of another style asked under this one where there is none."""
    first = None
    for prompt in parts.training_prompts():
        if prompt.style == style:
            return prompt
        first = first or prompt
    return first.under(style, style)
