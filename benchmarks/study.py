"""Which beta, which lmbda? Runs what is missing of a small study, then writes docs/study_beta_lmbda.md.

    python benchmarks/study.py                  36 runs, one after another; the same command goes on where it was
    python benchmarks/study.py --minutes 25     at most so long; a run that is cut is resumed by the next call
    python benchmarks/study.py --only-write     the page from the results that are there

One seed of everything comes first, so that a study that is cut is worth reading. The text of the page outside the markers
`<!-- study -->` is written by hand and kept.
"""

from collections.abc import Iterator
from itertools import product

from cells import SHORT, TINY_RATES, Cell, Cells, entry_of, missing_text, options, provenance, run_all, write_page
from contest import Rival, contest, measured, sentences, side_effects, values, versus

from gold_style.runs.files import write_text
from gold_style.show.svg import heat_chart
from gold_style.show.tables import Column, markdown_table, number

BETAS, LMBDAS, SEEDS = (0, 0.3, 1), (0, 0.5, 1), (0, 1, 2)
DEFAULT = "beta 0.3, lmbda 1"
GRID = {
    f"beta {beta}, lmbda {lmbda}": (f"loss.beta={beta}", f"loss.lmbda={lmbda}", "loss.seq_kd=true")
    for beta, lmbda in product(BETAS, LMBDAS)
}
VARIATIONS = {  # of the default
    "20 steps of teacher-written text first": ("loss.warm_start_steps=20",),
    "the teacher reads only the row's own rule": ("styles.teacher_prompt=per_style",),
    "each request under both tags": ("prompts.pairing=paired",),
}
GIVEN = (*SHORT, "evaluation.retention=true")


def plan(cells: Cells) -> Iterator[tuple[Cells, Cell]]:
    """Every run, the most telling first."""
    yield from ((cells, Cell(DEFAULT, GRID[DEFAULT], seed=seed)) for seed in SEEDS)
    yield from ((cells, Cell(*setting, seed=seed)) for seed in SEEDS for setting in (GRID | VARIATIONS).items())


def heatmap(rivals: list[Rival]) -> str:
    """The grid as a figure."""
    entries = {rival.name: rival.entry for rival in rivals}
    places = {(str(beta), str(lmbda)): entries.get(f"beta {beta}, lmbda {lmbda}") for beta, lmbda in product(BETAS, LMBDAS)}
    drawn = {place: (entry.margin, " ".join(map(number, values(entry, "margin")))) for place, entry in places.items() if entry}
    return heat_chart(drawn, title="Margin: mean of the seeds, and each seed", names=("beta", "lmbda")).file()


def text_of(cells: Cells) -> tuple[str, str]:
    """What goes between the markers, and the figure."""
    entries = {name: entry_of(cells.rows(Cell(name, overrides), SEEDS)) for name, overrides in (GRID | VARIATIONS).items()}
    rivals = contest(DEFAULT, entries)
    missing = missing_text(plan(cells))
    if not rivals or rivals[0].name != DEFAULT:
        return f"Missing: {missing}.", ""
    grid, others = ([rivals[0], *(rival for rival in rivals[1:] if rival.name in names)] for names in (GRID, VARIATIONS))
    columns = [Column("setting", lambda rival: rival.name), *measured(rivals[0]), *versus("default")]
    runs = [run.numbers for rival in rivals for run in rival.entry.runs]
    said = [*sentences("the default", rivals[1:]), *side_effects(rivals[0], rivals[1:])]
    parts = [
        f"{provenance(runs)} Every run: `{' '.join(GIVEN)}`.",
        f"Missing: {missing}." if missing else "Nothing is missing.",
        "### The grid",
        "![Heatmap](study/heatmap.svg)",
        markdown_table(columns, grid).rstrip(),
        f"### One at a time, at {DEFAULT}",
        markdown_table(columns, others).rstrip(),
        "### What the figures say",
        "\n".join(f"- {sentence}" for sentence in said),
    ]
    return "\n\n".join(parts), heatmap(rivals)


def main() -> None:
    given = options(__doc__, "study", "study_beta_lmbda.md")
    cells = Cells(GIVEN, TINY_RATES, given.root, given.results / "study_beta_lmbda.jsonl", given.minutes, given.through)
    run_all(plan(cells))
    text, figure = text_of(cells)
    print(text)
    write_page(given.page, text, "Which beta, which lmbda?")
    (given.page.parent / "study").mkdir(exist_ok=True)
    write_text(given.page.parent / "study" / "heatmap.svg", figure)


if __name__ == "__main__":
    main()
