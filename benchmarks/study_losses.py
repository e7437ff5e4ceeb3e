"""Which loss for a style? Runs what is missing of a study of the losses, then writes docs/study_losses.md.

    python benchmarks/study_losses.py                  up to 91 runs of the embedded pair and 3 of SmolLM2; continues where it was
    python benchmarks/study_losses.py --minutes 25     at most so long; a run that is cut is resumed by the next call
    python benchmarks/study_losses.py --only-write     the page from the results that are there

At 80 steps: jsd with three seeds, each loss and control with one, then with all; learning rates with one seed, the best of them with
all. Then the three best losses at the 160 steps of the default run, and the two best on SmolLM2 (`make smollm2` unpacks it), each
beside jsd. So a study that is cut is worth reading.
"""

from collections.abc import Iterator

from cells import REAL, REAL_RATES, SHORT, TINY_RATES, Cell, Cells, entry_of, missing_text, options, provenance, run_all, write_page
from contest import Rival, contest, mean_of, measured, sentences, side_effects, versus

from gold_style.comparison.leaderboard import p_text
from gold_style.show.tables import Column, interval_text, markdown_table, number

BASE = "jsd"
LOSSES = {  # {half} of the steps; the default loss, uld_hybrid, comes to jsd with one tokenizer; anchored is in the code up to e4ca580
    BASE: (),
    "topk_tail 8": ("loss=topk_tail", "loss.tail_k=8"),
    "topk_tail 32": ("loss=topk_tail", "loss.tail_k=32"),
    "anchored 0.1": ("loss=anchored", "loss.anchor_weight=0.1"),
    "anchored 0.5": ("loss=anchored", "loss.anchor_weight=0.5"),
    "contrast 0.25": ("loss=contrast", "loss.contrast_strength=0.25"),
    "contrast 0.5": ("loss=contrast", "loss.contrast_strength=0.5"),
    "contrast 1": ("loss=contrast", "loss.contrast_strength=1"),
    "beta from 0 to 0.3": ("loss.beta={from:0,to:0.3,steps:{half}}",),
    "lmbda from 0 to 1": ("loss.lmbda={from:0,to:1,steps:{half}}", "loss.seq_kd=true"),
}
CONTROLS = {
    "control: the teacher without its context": ("experiment=control_no_prompt",),
    "control: rules exchanged": ("experiment=control_swapped",),
    "control: no teacher": ("experiment=control_no_teacher",),
}
SEEDS, RATES = (0, 1, 2), (0.5, 1.0, 2.0)
NUM_LONG, NUM_REAL = 3, 2  # losses besides jsd that are run with more steps, and on the real model
RETENTION = "evaluation.retention=true"


class Study:
    """The three parts: the embedded pair at 80 and at 160 steps, and SmolLM2; `places`: root, results, minutes and through of Cells."""

    def __init__(self, root, results, minutes: float = 0.0, through=()):
        self.short, self.long, self.real = (
            Cells((*given, RETENTION), rates, root / name, results / f"study_losses_{name}.jsonl", minutes, through)
            for name, given, rates in (
                ("80", SHORT, TINY_RATES),
                ("160", ("train.max_steps=160", *SHORT[1:]), TINY_RATES),
                ("smollm2", (*REAL, "hardware.threads=1"), REAL_RATES),
            )
        )

    def cell(self, name: str, cells: Cells, rate: float = 1.0, seed: int = 0) -> Cell:
        """A run of a loss or control in one of the parts."""
        half = {id(self.short): "40", id(self.long): "80", id(self.real): "7"}[id(cells)]
        return Cell(name, tuple(text.replace("{half}", half) for text in (LOSSES | CONTROLS)[name]), rate, seed)

    def best_rate(self, name: str) -> float:
        """The rate with the highest margin of the first seed; the pair's own where none is known."""
        rows = {rate: self.short.known(self.cell(name, self.short, rate)) for rate in RATES}
        margins = {rate: row["margin"] for rate, row in rows.items() if row and row["margin"] is not None}
        return max(margins, key=lambda rate: (margins[rate], rate == 1), default=1.0)

    def shown_rate(self, name: str) -> float:
        """The best rate, once as many seeds are known of it as of the pair's own."""
        best = self.best_rate(name)
        return best if len(self.rows(name, best)) >= len(self.rows(name, 1.0)) else 1.0

    def rows(self, name: str, rate: float) -> list[dict]:
        return self.short.rows(self.cell(name, self.short, rate), SEEDS)

    def at_80(self) -> Iterator[tuple[Cells, Cell]]:
        """The runs of the first part, the most telling first; at most 79."""
        everything = [*LOSSES, *CONTROLS]
        order = [(BASE, 1.0, seed) for seed in SEEDS]
        order += [(name, 1.0, seed) for seed in SEEDS for name in everything]
        order += [(name, rate, SEEDS[0]) for name in LOSSES for rate in RATES]
        yield from ((self.short, self.cell(name, self.short, rate, seed)) for name, rate, seed in order)
        for name in LOSSES:
            yield from ((self.short, self.cell(name, self.short, self.best_rate(name), seed)) for seed in SEEDS)

    def is_done(self) -> bool:
        """Whether nothing is missing at 80 steps."""
        return all(self.short.known(cell) for _, cell in self.at_80())

    def plan(self) -> Iterator[tuple[Cells, Cell]]:
        """Every run in its order; the later parts when the first is complete, because it chooses them."""
        yield from self.at_80()
        if self.is_done():
            ranked = [rival.name for rival in self.rivals(LOSSES)[1:]]
            for seed in SEEDS:
                yield from ((self.long, self.cell(name, self.long, self.best_rate(name), seed)) for name in (BASE, *ranked[:NUM_LONG]))
            yield from ((self.real, self.cell(name, self.real)) for name in (BASE, *ranked[:NUM_REAL]))

    def rivals(self, names) -> list[Rival]:
        """The losses at 80 steps, each at its best rate, jsd first."""
        return contest(BASE, {name: entry_of(self.rows(name, rate := self.shown_rate(name)), rate=rate) for name in names})

    def later(self, cells: Cells) -> list[Rival]:
        """The losses of one of the later parts."""
        rates = {name: self.best_rate(name) if cells is self.long else 1.0 for name in LOSSES}
        rows = {name: cells.rows(self.cell(name, cells, rate), SEEDS) for name, rate in rates.items()}
        return contest(BASE, {name: entry_of(found, rate=rates[name]) for name, found in rows.items()})

    def tried(self, name: str) -> str:
        """Margins of the first seed at each rate."""
        rows = [self.short.known(self.cell(name, self.short, rate)) for rate in RATES]
        return " ".join(number(row and row["margin"]) for row in rows)

    def text(self) -> str:
        """What goes between the markers."""
        losses, controls = self.rivals(LOSSES), self.rivals(CONTROLS)
        if not losses or losses[0].name != BASE:
            return f"Missing: {self.missing()}."
        base, *others = losses
        rates = [
            Column("rate", lambda rival: f"x {rival.entry.settings['rate']:g}"),
            Column(f"seed 0 at x {', '.join(f'{rate:g}' for rate in RATES)}", lambda rival: self.tried(rival.name)),
        ]
        parts = [
            "## What to use",
            "\n".join(
                f"- {sentence}"
                for sentence in [*advice(base, others, controls), *self.said_later(), f"Missing: {self.missing() or 'nothing'}."]
            ),
            "## 80 steps",
            f"{made(self.short)} Each loss is shown at the rate that was best with seed {SEEDS[0]}.",
            table(base, losses, *versus(BASE), *rates),
            "## The floor: controls",
            table(base, controls) if controls else "Not run yet.",
        ]
        for title, cells in (("## 160 steps", self.long), ("## SmolLM2-135M-Instruct, 15 steps", self.real)):
            found = self.later(cells)
            parts += [title, *([made(cells), table(found[0], found, *versus(BASE))] if found else ["Not run yet."])]
        return "\n\n".join(parts)

    def said_later(self) -> list[str]:
        """What the later parts say."""
        long, real = self.later(self.long), self.later(self.real)
        said = [f"At 160 steps. {sentence}" for sentence in sentences("jsd", long[1:])]
        reached = ", ".join(f"{rival.name} {number(rival.entry.margin)} {interval_text(rival.entry.interval)}" for rival in real)
        return said + ([f"On SmolLM2, one seed, intervals over requests only: {reached}."] if real else [])

    def missing(self) -> str:
        """Which runs are missing, by loss."""
        later = "" if self.is_done() else f"; then the best {NUM_LONG} at 160 steps and the best {NUM_REAL} on SmolLM2"
        missing = missing_text(self.plan())
        return missing and missing + later


def made(cells: Cells) -> str:
    """How the runs of a part were made."""
    return f"{provenance(cells.results)} Every run: `{' '.join(cells.given)}`."


def table(base: Rival, rivals: list[Rival], *more: Column) -> str:
    return markdown_table([Column("loss", lambda rival: rival.name), *measured(base), *more], rivals).rstrip()


def advice(base: Rival, others: list[Rival], controls: list[Rival]) -> list[str]:
    """What to use for a style, how sure that is and what it costs, from the figures."""
    if not others:
        return ["Only jsd, the default, has been run."]
    best = others[0]
    figures = f"{best.text}; p {p_text(best.p_requests)} over requests, {p_text(best.p_seeds)} over seeds"
    better = [rival for rival in others if rival.certain and rival.difference > 0]
    said = [f"**Use jsd, the default.** None of {len(others)} others is surely better; the highest mean is that of {figures}."]
    if better:
        bits = " against ".join(mean_of("bits_percent", "+.1f")(rival) for rival in (better[0], base))
        said = [f"**Use {better[0].name}.** It is better than jsd for other requests and other seeds, and costs {bits} % bits per byte."]
    said += [*sentences("jsd", others), *side_effects(base, others)]
    costs = {rival.name: seconds for rival in others if (seconds := rival.entry.mean("cpu_s"))}
    if costs and base.entry.mean("cpu_s"):
        dearest = max(costs, key=costs.get)
        said.append(
            f"Cost: the dearest, {dearest}, takes {costs[dearest] / base.entry.mean('cpu_s'):.2f} times the CPU seconds of a run with jsd."
        )
    if controls:
        floor = max(controls, key=lambda rival: rival.entry.margin)
        said.append(
            f"The floor: the best control ({floor.name.partition(': ')[2]}) reaches {number(floor.entry.margin)} "
            f"{interval_text(floor.entry.interval)}; what jsd has above that: {base.entry.margin - floor.entry.margin:+.2f}."
        )
    return said


def main() -> None:
    given = options(__doc__, "study_losses", "study_losses.md")
    study = Study(given.root, given.results, given.minutes, given.through)
    run_all(study.plan())
    text = study.text()
    print(text)
    write_page(given.page, text, "Which loss for a style?")


if __name__ == "__main__":
    main()
