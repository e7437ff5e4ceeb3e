"""What helps a student that never writes the style? Runs what is missing of a small study, then writes docs/cold_start.md.

    python benchmarks/cold_start.py                  30 runs, one after another; the same command goes on where it was
    python benchmarks/cold_start.py --pair smollm2   10 runs of the real model, at half the steps of its recipe
    python benchmarks/cold_start.py --minutes 25     at most so long; a run that is cut is resumed by the next call
    python benchmarks/cold_start.py --only-write     tables from the results that are there

The tiny student is that of model=tiny, built once more without the Joseon texts (`python -m gold_style.pairs.tiny --cold`), so that it
starts as a released model does: it never writes the style. Each variant is tried with seed 0, at several rates where that is cheap; the
best variants are repeated with two further seeds. The last four are added to the better one of the two plain ones. Guided rollouts and
evidence did not beat it and are not in the code any more: runs of the embedded pair were made at commit 87cd53c, those of SmolLM2 at
046c1e2, and one that is missing needs such code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cells import REAL, REAL_RATES, TINY_RATES, Cell, Cells, OutOfTime, entry_of, options, write_page

from gold_style.comparison.leaderboard import Entry, difference_p, p_text
from gold_style.measure.statistics import holm
from gold_style.show.tables import Column, markdown_table, number, share

PLAIN = {"on-policy, beta 0": ["loss.beta=0"], "on-policy, beta 0.3": ["loss.beta=0.3"]}
OTHERS = {  # {beta}: of the better plain one
    "beta 0, over {ramp} steps to 0.3": ["loss.beta={from:0,to:0.3,steps:{ramp}}"],
    "warm start of {warm} steps": ["loss.beta={beta}", "loss.warm_start_steps={warm}"],
    "guided 0.5": ["loss.beta={beta}", "loss.guided_share=0.5"],
    "guided 0.5, evidence 0.1 nats": ["loss.beta={beta}", "loss.guided_share=0.5", "loss.evidence_nats=0.1"],
}
SEEDS = (0, 1, 2)
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Who is trained, and how often."""

    title: str
    given: tuple[str, ...]  # overrides of every run
    rates: dict[str, float]  # learning rates
    tried: tuple[float, ...]  # multiples of them, of which seed 0 chooses one for each variant
    ramp: int  # optimizer steps in which beta rises
    warm: int  # optimizer steps on teacher-written text
    repeated: int  # variants, the best with seed 0, that are run with the other seeds, too


PAIRS = {
    "tiny": Pair(
        title="The embedded pair, whose student has read no Joseon",
        given=(
            *("train.max_steps=80", "prompts.eval_samples=64", "prompts.untagged_share=0", "evaluation.untagged=false"),
            *("evaluation.misspelt=0", "evaluation.every_steps=10", "evaluation.live_samples=24", "tracker=none", "hardware=cpu"),
            "hardware.threads=1",
        ),
        rates=TINY_RATES,
        tried=(1.0, 2.0, 4.0),
        ramp=40,
        warm=20,
        repeated=6,
    ),
    "smollm2": Pair(
        title="SmolLM2-135M-Instruct",
        given=(*REAL, "evaluation.retention=null"),
        rates=REAL_RATES,
        tried=(1.0,),
        ramp=10,
        warm=5,
        repeated=2,
    ),
}


class Study(Cells):
    """The runs of a pair."""

    def __init__(self, pair: Pair, *places):
        super().__init__(pair.given, pair.rates, *places)
        self.pair = pair

    def shared(self) -> Sequence[str]:
        """Overrides of every run; of the tiny pair with the student without its prior, built on first use."""
        if self.pair is not PAIRS["tiny"]:
            return self.given
        folder = self.root / "pair" / "tiny" / "student"
        if not (folder / "README.md").is_file():
            self.command(["-m", "gold_style.pairs.tiny", "--cold", "--output", str(self.root / "pair")])
        return [*self.given, f"model.student={folder}"]

    def first(self, name: str, overrides: list[str]) -> tuple[str, list[str], list[dict]]:
        """A variant's name and overrides, and what it reached with the first seed at each rate."""
        words = {"{ramp}": self.pair.ramp, "{warm}": self.pair.warm}
        for word, value in words.items():
            name, overrides = name.replace(word, str(value)), [text.replace(word, str(value)) for text in overrides]
        return name, overrides, [self.result(Cell(name, tuple(overrides), rate)) for rate in self.pair.tried]

    def entries(self) -> list[Entry]:
        """Every variant at its best rate, the better plain one first; the best variants with every seed."""
        plain = sorted((self.first(*pair) for pair in PLAIN.items()), key=lambda found: -best(found)["margin"])
        beta = plain[0][1][0].partition("=")[2]
        found = plain + [self.first(name, [text.replace("{beta}", beta) for text in given]) for name, given in OTHERS.items()]
        repeated = sorted(found, key=lambda found: -best(found)["margin"])[: self.pair.repeated]
        return [self.entry(one, SEEDS if one in repeated else SEEDS[:1]) for one in found]

    def entry(self, found: tuple[str, list[str], list[dict]], seeds: Sequence[int]) -> Entry:
        name, overrides, tried = found
        rate = best(found)["rate"]
        rows = [self.result(Cell(name, tuple(overrides), rate, seed)) for seed in seeds]
        return entry_of(rows, variant=name, rate=rate, tried=[row["margin"] for row in tried])


def best(found: tuple[str, list[str], list[dict]]) -> dict:
    """What a variant reached at its best rate."""
    return max(found[2], key=lambda row: row["margin"])


def text_of(name: str, entries: list[Entry]) -> str:
    """The table of a pair, and which variant beats the better plain one, from the figures."""
    pair = PAIRS[name]
    plain, *others = entries
    p_values = holm([difference_p(plain.contributions(), entry.contributions()) for entry in others])
    said, rows = [], [(plain, "")]
    for entry, p in zip(others, p_values, strict=True):
        sure, better = p is not None and p < ALPHA, (entry.margin or 0) > (plain.margin or 0)
        word = ("beats" if better else "is worse than") if sure else "cannot be told apart from"
        said.append(f"- {entry.settings['variant']} {word} {plain.settings['variant']} (p {p_text(p)})")
        rows.append((entry, p_text(p)))
    columns = [
        Column("variant", lambda row: row[0].settings["variant"]),
        Column("margin [95 %]", lambda row: share(row[0].margin, row[0].interval)),
        Column("of the seeds", lambda row: " ".join(number(run.after["margin"]) for run in row[0].runs)),
        Column("leakage", lambda row: share(row[0].mean("leakage")), right=True),
        Column("content", lambda row: share(row[0].mean("content")), right=True),
        Column("rate", lambda row: f"x {row[0].settings['rate']:g}", right=True),
        Column(f"seed 0 at x {', '.join(f'{rate:g}' for rate in pair.tried)}", lambda row: " ".join(map(number, row[0].settings["tried"]))),
        Column("p against the first", lambda row: row[1], right=True),
    ]
    used = [run.after for entry in entries for run in entry.runs]
    dates, machines = (sorted({row[name] for row in used}) for name in ("date", "machine"))
    return "\n".join(
        [
            f"## {pair.title}\n",
            f"`python benchmarks/cold_start.py --pair {name}`, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, one thread of "
            f"{', '.join(machines)}. Teacher's margin: {', '.join(sorted({number(row['teacher']) for row in used}))}. Seeds "
            f"{', '.join(map(str, SEEDS))} for the best {pair.repeated}, at the rate that was best with seed {SEEDS[0]}; every run: "
            f"`{' '.join(pair.given)}`. p: paired over requests, Holm; it says nothing about seeds.\n",
            markdown_table(columns, rows),
            *said,
        ]
    )


def main() -> None:
    given = options(__doc__, "cold_start", "cold_start.md", pair=[*PAIRS])
    texts = []
    for name, pair in PAIRS.items():
        minutes = given.minutes if name == given.pair else 0.0
        study = Study(pair, given.root / name, given.results / f"cold_start_{name}.jsonl", minutes, given.through)
        try:
            texts.append(text_of(name, study.entries()))
        except OutOfTime:
            missing = f"{len(study.results)} runs are done, others are missing: `python benchmarks/cold_start.py --pair {name}` continues."
            texts.append(f"## {pair.title}\n\n{missing}")
    text = "\n\n".join(texts)
    print(text)
    write_page(given.page, text, "Cold start: a student that never writes the style")


if __name__ == "__main__":
    main()
