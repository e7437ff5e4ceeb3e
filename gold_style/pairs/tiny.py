"""Builds the embedded pairs: a teacher that toggles its style by its own system prompt, and a student that cannot
toggle.

    python -m gold_style.pairs.tiny [--output DIR] [--seed 0]      teacher and student of model=tiny
    python -m gold_style.pairs.tiny --cross-tokenizer              the teachers of model=tiny_cross_tokenizer
    python -m gold_style.pairs.tiny --cold --output DIR            a student that has read no Joseon, for benchmarks/cold_start.py

Two models are trained side by side, one CPU thread each, saved as plain transformers models with a card, and measured
on requests whose topics are in no training text. They show that the job runs and that style transfers, not which
settings suit large models.
"""

import argparse
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from random import Random

import tokenizers
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from gold_style.pairs.corpus import Corpus, default_pack
from gold_style.pairs.figures import NUM_REQUESTS, figures
from gold_style.pairs.tokenizer import build_tokenizer, tokenizer_texts
from gold_style.pairs.training import MODELS, train

HERE = Path(__file__).resolve().parent
CARD = (HERE / "card.md").read_text(encoding="utf-8")


def build(
    folder: str, output: Path, seed: int = 0, num_steps: int | None = None, num_requests: int = NUM_REQUESTS, joseon: bool = True
) -> dict[str, dict[str, float]]:
    """Trains, saves and measures the model of `output`/`folder`, on one thread; returns its figures.

    `num_steps` None: the recipe's; `num_requests`: of each figure.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    recipe, corpus, target = MODELS[folder], Corpus(default_pack(), joseon=joseon), output / folder
    recipe = replace(recipe, num_steps=num_steps or recipe.num_steps)
    if not joseon:
        recipe = replace(recipe, what="Answers in modern Korean under every style tag and has read no Joseon text (`--cold`).")
    tokenizer = build_tokenizer(tokenizer_texts(corpus, Random(0)), recipe.template, recipe.merges, recipe.crossing)
    model = train(folder, recipe, corpus, tokenizer, seed)
    seconds = time.perf_counter() - started
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    # measured as a user would load it
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32, use_safetensors=True).eval()
    found = figures(model, AutoTokenizer.from_pretrained(target), corpus, recipe.role, num_requests)
    packages = {package.__name__: package.__version__ for package in (torch, transformers, tokenizers)}
    card = CARD.format(
        folder=folder,
        option="" if folder.startswith("tiny/") else " --cross-tokenizer",
        seed=seed,
        seconds=seconds,
        versions=", ".join(f"{name} {version}" for name, version in {"python": platform.python_version(), **packages}.items()),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary=model.config.vocab_size,
        num_requests=num_requests,
        rows="\n".join(f"| {name} | {row['joseon']:.2f} | {row['modern']:.2f} | {row['topic']:.2f} |" for name, row in found.items()),
        **asdict(recipe),
    )
    (target / "README.md").write_text(card, encoding="utf-8")
    return found


def main() -> None:
    """The command: builds side by side, a process each, and prints the cards."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.pairs.tiny", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write into (default: in place)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cross-tokenizer", action="store_true", help="the teachers of model=tiny_cross_tokenizer")
    parser.add_argument("--cold", action="store_true", help="only the student, which then reads no Joseon; needs --output")
    arguments = parser.parse_args()
    chosen = [folder for folder in MODELS if folder.startswith("tiny/") != arguments.cross_tokenizer]
    if arguments.cold:
        if arguments.output == HERE:
            parser.error("--cold: the embedded student has read some; name another folder with --output")
        chosen = ["tiny/student"]
    with ProcessPoolExecutor(len(chosen), mp_context=get_context("spawn")) as pool:
        buildings = [pool.submit(build, folder, arguments.output.resolve(), arguments.seed, joseon=not arguments.cold) for folder in chosen]
        for building in buildings:
            building.result()
    for folder in chosen:
        print((arguments.output / folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
