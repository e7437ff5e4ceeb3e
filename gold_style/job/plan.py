"""What a run would do, before it does it: `python train.py dry_run=true`.

Prints the plan, token counts and, for one row per style side by side, exactly what the student and what the teacher read, with the
tokens that are scored marked. Then the teacher is tried (gold_style/job/teacher_check.py), which is what loads weights.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gold_style import PROJECT
from gold_style.config.losses import further_readings
from gold_style.config.own_teacher import is_held_once, teacher_names, teacher_of_each_tag
from gold_style.config.schedule import shortened
from gold_style.config.settings import Settings
from gold_style.job.forecast import Refused
from gold_style.job.obstacles import absences, lacks
from gold_style.job.page import print_forecast
from gold_style.job.steps import num_steps, rows_per_step
from gold_style.prompts import Prompt, PromptSource, build_source
from gold_style.runs.progress import Progress
from gold_style.runs.run_directory import template_date
from gold_style.show.answers import tag_text
from gold_style.styles import SHIPPED, StylePack
from gold_style.verdicts import classifier_of

if TYPE_CHECKING:
    from gold_style.job.inputs import Inputs

SCORED = "black on green"
WAYS = {True: "token by token (one tokenizer)", False: "over spans of common bytes (two tokenizers)"}
PLACEHOLDER = "〈the student's own completion〉"


def dry_run(settings: Settings, argv: Sequence[str], refused: Refused) -> float:
    """Print the plan, what this machine would have to hold, and what is against it here; else have the teacher answer. Leaves nothing;
    returns NaN. `refused(settings)`: what speaks against other settings.

    Where a model or a row cannot be had, the plan is the part that needs neither. Raises ValueError for the user's mistakes.
    """
    found, inputs = absences(settings, argv), None
    if not found:
        from gold_style.job.inputs import Inputs  # torch and transformers: only where there are tokenizers to read

        try:
            inputs = Inputs.read(settings, template_date(settings.reproduce or settings.resume))
            found += inputs.mistakes()
        except ValueError as error:
            found.append(str(error))
    print_plan(settings, inputs)
    try:
        print_forecast(settings, refused) if inputs else None
    except ValueError as error:  # a model whose sizes only the hub knows
        print(f"no plan of memory: {error}")
    found += lacks(settings)
    if not found:
        from gold_style.job.optimizer import optimizer_mistakes

        found += optimizer_mistakes(settings, inputs.num_steps)
    if found:
        raise ValueError("\n  ".join(["against this run on this machine:", *dict.fromkeys(found)]))
    from gold_style.job.teacher_check import try_teacher

    with Progress() as progress:
        try_teacher(inputs, progress)
    return math.nan


def print_plan(settings: Settings, inputs: "Inputs | None") -> None:
    """Print the plan to stdout; without `inputs`, what needs no tokenizers."""
    console, table = Console(), Table(box=box.SIMPLE, show_header=False, title="plan", title_justify="left")
    pack = StylePack.from_settings(settings.styles)
    try:
        source = inputs.source if inputs else build_source(settings, pack)
        facts = _facts(settings, pack, source) | (_token_facts(inputs) if inputs else {})
    except ValueError:  # it is said below the plan
        source, facts = None, _facts(settings, pack, None)
    for name, fact in facts.items():
        table.add_row(Text(name), Text(str(fact)))
    console.print(table)
    for note in (*pack_notes(settings, pack), *(inputs.notes if inputs else source.notes if source else ())):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    for prompt in _shown(inputs) if inputs else ():
        console.print(_side_by_side(inputs, prompt))
    console.print("Dry run: nothing is trained and no run directory is made. Marked like ", Text("this", SCORED), ": scored tokens.")


def pack_notes(settings: Settings, pack: StylePack) -> list[str]:
    """What the author of a pack has still to do: examples that its classifier calls something else, parts that are a shipped pack's."""
    own, classifier, found = settings.styles, classifier_of(pack), []
    for style in pack.styles:
        for number, answer in enumerate(shot.answer for shot in style.few_shots):
            if (verdict := classifier(answer)) != style.verdict:
                found.append(
                    f"styles.styles.{style.tag}.few_shots[{number}]: the classifier calls it {verdict}, not {style.verdict}: {answer}"
                )
    for name in SHIPPED if pack.name not in SHIPPED else ():
        shipped = yaml.safe_load((PROJECT / f"conf/styles/{name}.yaml").read_text(encoding="utf-8"))
        first, theirs, asked = own.styles[pack.tags[0]], next(iter(shipped["styles"].values())), shipped["requests"]
        same = [f"styles.styles.{pack.tags[0]}.{key}" for key in ("rule", "few_shots") if first.get(key) == theirs[key]]
        lists = [key for key in ("topics", "evaluation_topics") if [*(own.requests.get(key) or {}).values()] == [*asked[key].values()]]
        same += [f"styles.requests.{key}" for key in lists]
        found += [f"still as in styles={name}: {', '.join(same)}"] if same else []
    return found


def _facts(settings: Settings, pack: StylePack, source: PromptSource | None) -> dict[str, str]:
    """What the settings say, and the rows where they can be read."""
    loss, train, rows, teachers = settings.loss, settings.train, rows_per_step(settings), teacher_of_each_tag(settings)
    tags = ", ".join(f"<style:{tag}>" for tag in pack.tags)
    examples = f", examples per style: {pack.few_shots} ({pack.examples})" if pack.few_shots else ""
    facts = {
        "run directory": settings.output_dir,
        "pair": f"{teacher_names(settings.model)} -> {settings.model.student} ({settings.model.dtype})",
        "styles": f"{pack.name}: {tags} (teacher prompt {pack.teacher_prompt}{examples})",
        "prompts": settings.prompts.source,
        "loss": f"{loss.kind}, beta {shortened(loss.beta)}, lmbda {shortened(loss.lmbda)}, seq_kd {str(loss.seq_kd).lower()}",
        "optimizer": f"{train['optim']}, train/learning_rate {train['learning_rate']}",
    }
    if further_readings(loss):
        facts["loss"] += "; also reads the teacher without its context"
    if settings.prompts.teacher_context != "full":
        facts["styles"] += f"; teaches with prompts.teacher_context={settings.prompts.teacher_context}"
    if train["optim"] == "muon":  # named as the charts name them: they show that of the first group of weights
        muon = f"train/learning_rate {settings.model.recipe.muon_learning_rate} for the layers' matrices"
        facts["optimizer"] = f"muon, {muon}; train.learning_rate {train['learning_rate']} (AdamW) for the rest, on the same schedule"
    if settings.evaluation.retention:
        again = "which is the teacher" if is_held_once(teachers[pack.untagged]) else "loaded again at the end, in the teacher's place"
        facts["retention"] = f"held-out texts in {pack.language}, read by teacher, student and its start ({again})"
    if source is not None:
        rows_text = f"{source.num_rows} training rows" if source.num_rows else "unlimited rows"
        steps = num_steps(settings, source.num_rows)
        facts["prompts"] += f", {rows_text}, {source.untagged_share:.1%} of them without a tag"
        if settings.prompts.source == "dynamic" and (made_up := settings.prompts.random_topics):
            facts["prompts"] += f", {made_up:.0%} about made-up words, so that a tiny model learns to copy a topic"
        facts["held out"] = f"{len(source.evaluation())} requests for the summary, {len(source.selection())} for live evaluation"
        facts["steps"] = f"{steps} x {rows} rows = {steps * rows:,} completions of at most {train['max_completion_length']} tokens"
    return facts


def _token_facts(inputs: "Inputs") -> dict[str, str]:
    """What the tokenizers show."""
    rows = [*inputs.training_prompts()]
    student = sorted(len(inputs.chat.student_ids(prompt)) for prompt in rows)
    teacher = sorted(len(ids.prefix) + len(ids.rest) for ids in map(inputs.chat.teacher_ids, rows))
    ways = {tag: WAYS[is_exact] for tag, is_exact in inputs.is_exact.items()}
    compared = {*ways.values()} if len({*ways.values()}) == 1 else [f"{tag_text(tag)} {way}" for tag, way in ways.items()]
    prefixes = {tag_text(prompt.tag): len(inputs.chat.teacher_ids(prompt).prefix) for prompt in _shown(inputs)}
    return {
        "compared": ", ".join(compared),
        "student prompt": f"{student[0]} to {student[-1]} tokens, median {student[len(student) // 2]}",
        "teacher prompt": f"{teacher[0]} to {teacher[-1]} tokens, median {teacher[len(teacher) // 2]}; read once for all rows: "
        + ", ".join(f"{tag} {tokens}" for tag, tokens in prefixes.items()),
    }


def _side_by_side(inputs: "Inputs", prompt: Prompt) -> Table:
    from gold_style.chat import stop_ids, template_stop_id

    table = Table(box=box.ROUNDED, title=tag_text(prompt.tag), title_justify="left", expand=True)
    cells = []
    for side, tokenizer, text in (
        ("student reads", inputs.chat.student_tokenizer, inputs.chat.student_text(prompt)),
        ("teacher reads", inputs.chat.reader_of(prompt.style), inputs.chat.teacher_text(prompt, inputs.chat.teacher_context)),
    ):
        stop = tokenizer.decode([i for i in [template_stop_id(tokenizer, stop_ids(tokenizer))] if i is not None])
        completion = PLACEHOLDER if inputs.settings.loss.lmbda != 0 or prompt.reference is None else prompt.reference
        table.add_column(f"{side} ({len(tokenizer(text, add_special_tokens=False)['input_ids'])} tokens)", ratio=1, overflow="fold")
        cells.append(Text.assemble(text, (completion + stop, SCORED)))
    table.add_row(*cells)
    return table


def _shown(inputs: "Inputs") -> list[Prompt]:
    """The first training row of each tag, and of none if there are such; a row of another tag asked under it where there is none."""
    first: dict[str | None, Prompt] = {}
    for prompt in inputs.training_prompts():
        first.setdefault(prompt.tag, prompt)
    untagged = [first[None]] if None in first else []
    return [first.get(tag) or next(iter(first.values())).under(tag, tag) for tag in inputs.pack.tags] + untagged
