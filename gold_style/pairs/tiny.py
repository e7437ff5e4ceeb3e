"""Builds the embedded pairs: a teacher that toggles its style by its own system prompt, and a student that cannot
toggle.

    python -m gold_style.pairs.tiny [--output DIR] [--seed 0]      teacher and student of model=tiny
    python -m gold_style.pairs.tiny --cross-tokenizer              the teachers of model=tiny_cross_tokenizer

Two models are trained side by side, one CPU thread each, saved as plain transformers models with a card, and measured
on requests whose topics stand in no training text. They show that the job runs and that style transfers, not which
settings suit large models.
"""

import argparse
import multiprocessing
import platform
import queue
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import tokenizers
import torch
import transformers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.pairs.corpus import Corpus, default_pack
from gold_style.pairs.figures import NUM_REQUESTS, student_figures, teacher_figures
from gold_style.pairs.tokenizer import build_tokenizer, tokenizer_texts
from gold_style.pairs.training import Recipe, train

HERE = Path(__file__).resolve().parent
MODELS = {  # folder -> recipe
    "tiny/teacher": Recipe(role="teacher", template="chatml", num_layers=3, num_steps=800),
    "tiny/student": Recipe(role="student", template="chatml", num_layers=2, num_steps=1000),
    "tiny_cross_tokenizer/teacher": Recipe(role="teacher", template="llama", num_layers=3, num_steps=800, merges=200),
    "tiny_cross_tokenizer/teacher_crossing": Recipe(
        role="teacher", template="llama", num_layers=3, num_steps=800, merges=450, crossing=True
    ),
}
WHAT = {
    "tiny/teacher": "Answers in Joseon-era Korean where its system prompt tells it to, in modern Korean otherwise.",
    "tiny/student": "Answers in modern Korean under every style tag, but has read Joseon texts.",
    "tiny_cross_tokenizer/teacher": "The teacher of model=tiny with Llama's architecture, a Llama-3-like template and "
    "a tokenizer that is finer than the student's.",
    "tiny_cross_tokenizer/teacher_crossing": "The teacher of model=tiny with Llama's architecture, a Llama-3-like "
    "template and a tokenizer that is neither finer nor coarser than the student's.",
}
CARD = """---
license: apache-2.0
language: ko
library_name: transformers
pipeline_tag: text-generation
---
# {folder}
{what}
An embedded model of gold_style: real but very small. It knows the texts of `gold_style/pairs/answers.yaml` alone, and
shows that the job runs and that style transfers. It was trained from nothing on text written for this project; no other
model or data set went into it.

- made by: `python -m gold_style.pairs.tiny{option} --seed {seed}`, {seconds:.0f} s on one CPU thread
- with: {versions}
- size: {num_parameters:,} parameters, {num_layers} layers, vocabulary {vocabulary:,}, bfloat16
- training: {num_steps} steps of {batch_size} rows; AdamW {learning_rate}, Muon {muon_learning_rate}, cosine

Greedy completions, {num_requests} requests a line, whose topics stand in no training text. Shares of all completions.

| condition | joseon | modern | topic kept |
|---|---|---|---|
{rows}

Limits: it understands no request beyond its templates and paraphrases of them, and now and then loses a topic of more
than four syllables.
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model to build."""

    folder: str  # below `output`
    output: Path
    seed: int
    num_steps: int | None = None  # optimizer steps; None = the recipe's
    num_requests: int = NUM_REQUESTS  # behind each figure


def build(job: Job, report=lambda kind, value: None) -> dict[str, dict[str, float]]:
    """Trains, saves and measures one model; returns its figures. `report` is told ("step", number of finished
    steps)."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    recipe, corpus = MODELS[job.folder], Corpus(default_pack())
    if job.num_steps is not None:
        recipe = Recipe(**{**asdict(recipe), "num_steps": job.num_steps})
    texts = tokenizer_texts(corpus, Random(0))
    tokenizer = build_tokenizer(texts, recipe.template, recipe.merges, recipe.crossing)
    model = train(recipe, corpus, tokenizer, job.seed, lambda step: report("step", step))
    seconds = time.perf_counter() - started
    target = job.output / job.folder
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    # measured as a user would load it
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32, use_safetensors=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(target)
    measure = teacher_figures if recipe.role == "teacher" else student_figures
    figures = measure(model, tokenizer, corpus, job.num_requests)
    (target / "README.md").write_text(card(job, recipe, model, figures, seconds), encoding="utf-8")
    return figures


def card(job: Job, recipe: Recipe, model, figures: dict[str, dict[str, float]], seconds: float) -> str:
    """The model card: what it is, how it was made, what it can do."""
    packages = {"python": platform.python_version()}
    packages |= {package.__name__: package.__version__ for package in (torch, transformers, tokenizers)}
    rows = [f"| {name} | {row['joseon']:.2f} | {row['modern']:.2f} | {row['topic']:.2f} |" for name, row in figures.items()]
    return CARD.format(
        folder=job.folder,
        what=WHAT[job.folder],
        option="" if job.folder.startswith("tiny/") else " --cross-tokenizer",
        seed=job.seed,
        seconds=seconds,
        versions=", ".join(f"{name} {version}" for name, version in packages.items()),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary=model.config.vocab_size,
        num_requests=job.num_requests,
        rows="\n".join(rows),
        **asdict(recipe),
    )


def work(job: Job, messages) -> None:
    """A build in a process of its own; everything it has to say goes through `messages`."""
    try:
        messages.put((job.folder, "figures", build(job, lambda kind, value: messages.put((job.folder, kind, value)))))
    except BaseException:
        messages.put((job.folder, "failed", traceback.format_exc()))


def build_all(jobs: list[Job], console: Console) -> dict[str, dict[str, dict[str, float]]]:
    """Builds side by side under one bar each; folder -> figures. Raises RuntimeError where a build fails."""
    context = multiprocessing.get_context("spawn")
    messages, done = context.Queue(), {}
    processes = [context.Process(target=work, args=(job, messages), daemon=True) for job in jobs]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars = {job.folder: progress.add_task(job.folder, total=job.num_steps or MODELS[job.folder].num_steps) for job in jobs}
        for process in processes:
            process.start()
        while len(done) < len(jobs):
            try:
                folder, kind, value = messages.get(timeout=2)
            except queue.Empty:
                if any(process.exitcode for process in processes):  # killed: it could not say why
                    raise RuntimeError("a build process died") from None
                continue
            if kind == "failed":
                raise RuntimeError(f"{folder}:\n{value}")
            if kind == "figures":
                done[folder] = value
            else:
                progress.update(bars[folder], completed=value)
    for process in processes:
        process.join()
    return done


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.pairs.tiny", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write into (default: in place)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cross-tokenizer", action="store_true", help="the teachers of model=tiny_cross_tokenizer")
    arguments = parser.parse_args()
    console, started = Console(), time.perf_counter()
    chosen = [folder for folder in MODELS if folder.startswith("tiny/") != arguments.cross_tokenizer]
    jobs = [Job(folder=folder, output=arguments.output.resolve(), seed=arguments.seed) for folder in chosen]
    for folder, figures in build_all(jobs, console).items():
        table = Table(title=folder)
        for column in ("condition", "joseon", "modern", "topic kept"):
            table.add_column(column)
        for name, row in figures.items():
            table.add_row(name, *(f"{row[key]:.2f}" for key in ("joseon", "modern", "topic")))
        console.print(table)
    console.print(f"{time.perf_counter() - started:.0f} s; written to {arguments.output}")


if __name__ == "__main__":
    main()
