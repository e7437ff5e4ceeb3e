"""Two losses for two tokenizers side by side, `tree` and byte-prefix marginalisation (BPM, arXiv 2607.22334): exactness, cost, margin.

    python benchmarks/two_tokenizers.py                      all that is missing, then the tables of docs/two_tokenizers.md
    python benchmarks/two_tokenizers.py --only exactness cost
    python benchmarks/two_tokenizers.py --minutes 25         at most so long; the same command goes on where it was
    python benchmarks/two_tokenizers.py --only-write         tables from the results that are there

exactness: a world of 675 texts whose next tokens are known for any tokenizer (tests/helpers/small_world.py).
real: SmolLM2 reads English prose in its own tokens and, as its own teacher, in those of a tokenizer that has lost its last third of merges.
cost: one micro-batch at two vocabularies of 150,000 made-up tokens, in turns in one process.
margin: runs of model=tiny_cross_tokenizer, both teachers, three seeds.

Results are JSON lines, each with machine and date.
"""

import argparse
import gc
import json
import math
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from bpm import BPM, Prefixes  # noqa: E402
from cells import Cells, OutOfTime, processor, write_page  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast  # noqa: E402

from gold_style.comparison.records import read_run  # noqa: E402
from gold_style.losses.divergence import jsd_of_logprobs, log_probs  # noqa: E402
from gold_style.losses.tree.lifting import Lifting  # noqa: E402
from gold_style.losses.tree.loss import Tree  # noqa: E402
from gold_style.losses.tree.plan import Positions  # noqa: E402
from gold_style.pairs.smollm2 import directory  # noqa: E402
from gold_style.show.tables import Column, markdown_table, number  # noqa: E402
from gold_style.tokens.alignment import align, retokenise  # noqa: E402
from gold_style.tokens.token_bytes import TokenBytes  # noqa: E402
from tests.helpers.small_world import CASES, WEIGHTS, WORLD, sides_of, true_logits, true_model  # noqa: E402
from tests.helpers.toy_tokenizers import LLAMA_SPECIALS  # noqa: E402

BETA = 0.3  # the embedded pairs'
SCRIPTS = {"tree": "train.py", "bpm": "benchmarks/bpm.py"}  # the second one trains with BPM where the config says tree
LOSSES = tuple(SCRIPTS)
TEACHERS = {"finer": [], "crossing": ["model.teacher=gold_style/pairs/tiny_cross_tokenizer/teacher_crossing"]}
SEEDS = (0, 1, 2)
RUN = ["model=tiny_cross_tokenizer", "tracker=none"]
VOCABULARY, TOKENS, ROWS, ROUNDS = 150_000, 128, 4, 3  # cost: tokens of the student in a micro-batch, in so many rows
QUESTIONS = ("What is the capital of France?", "Write one sentence about the sea.", "Why is the sky blue?")
EXACT = 1e-3  # nats of loss at the truth, below which a position counts as exact


class Batch:
    """Texts in the tokens of both sides, as a micro-batch holds them."""

    def __init__(self, student, teacher, rows: list[list[int]], finished: bool = True):
        sides = TokenBytes.from_tokenizer(student), TokenBytes.from_tokenizer(teacher)
        self.student_ids, self.teacher_ids, self.spans, self.lengths, self.student_lengths = [], [], [], [], []
        for ids in rows:
            own = [*ids, student.eos_token_id] if finished else ids
            theirs, _ = retokenise(own, sides[0], teacher, finished, teacher.eos_token_id)
            moved = (len(self.student_ids),) * 2 + (len(self.teacher_ids),) * 2
            self.spans += [tuple(map(sum, zip(span, moved, strict=True))) for span in align(own, theirs, *sides)]
            self.student_ids, self.teacher_ids = self.student_ids + own, self.teacher_ids + theirs
            self.lengths, self.student_lengths = [*self.lengths, len(theirs)], [*self.student_lengths, len(own)]

        places = Positions.of(sides[0].lengths_of(self.student_ids), sides[1].lengths_of(self.teacher_ids), self.spans)
        ends = places.offset_P + sides[0].lengths_of(self.student_ids)[places.student_P]
        self.spanning = float((ends > sides[1].lengths_of(self.teacher_ids)[places.teacher_P]).mean())  # run beyond a teacher token

    def loss(self, loss, student_logits, teacher_logits) -> torch.Tensor:
        ids = torch.tensor(self.student_ids), torch.tensor(self.teacher_ids), torch.tensor(self.spans)
        return loss.per_unit(student_logits, teacher_logits, *ids, self.lengths)[0]


def built(kind: str, student, teacher):
    """A loss for two tokenizers."""
    stops = [student.eos_token_id], [teacher.eos_token_id]
    if kind == "tree":
        return Tree(lifting=Lifting(student, teacher, *stops), beta=BETA)
    return BPM(prefixes=Prefixes(TokenBytes.from_tokenizer(student), TokenBytes.from_tokenizer(teacher), *stops), beta=BETA)


def exactness(study: Cells) -> Iterator[dict]:
    """The losses against the truth: at the student that writes as the teacher does (0 nats, no gradient), and at a random one."""
    for case in CASES:
        student, teacher = sides_of(case)
        texts = random.Random(5).choices(WORLD, WEIGHTS, k=25)
        batch = Batch(student, teacher, [student.encode(text) for text in texts])
        teacher_logits = true_logits(true_model(teacher), batch.teacher_ids, batch.lengths, len(teacher))
        truth = true_logits(true_model(student), batch.student_ids, batch.student_lengths, len(student))
        drawn = truth.clamp_min(-8) + torch.randn(truth.shape, generator=torch.Generator().manual_seed(0), dtype=truth.dtype)
        for kind in LOSSES:
            loss, found = built(kind, student, teacher), {}
            for where, logits in (("truth", truth), ("drawn", drawn)):
                own = logits.clone().requires_grad_()
                loss_P = batch.loss(loss, own, teacher_logits)
                true_P = jsd_of_logprobs(log_probs(own), log_probs(truth), BETA)
                gradients = [torch.autograd.grad(side.sum(), own)[0] for side in (loss_P, true_P)]
                found[f"{where}_nats"] = (loss_P - true_P).abs().mean().item()
                found[f"{where}_gradient"] = (gradients[0] - gradients[1]).abs().sum(-1).mean().item()
                if where == "truth":
                    found["exact"] = (loss_P < EXACT).double().mean().item()
                else:
                    found["nats"] = true_P.mean().item()
            yield {"case": case, "loss": kind, "scored": len(loss_P) / len(batch.student_ids), "spanning": batch.spanning, **found}


def made_up(seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of VOCABULARY tokens; two of different seeds have about half of them in common."""
    letters, draw = "etaoinshrdlucmfwygpbvk ", random.Random(0)
    merges, tokens = [], dict.fromkeys([*LLAMA_SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    grown = ["Ġ" if letter == " " else letter for letter in letters]
    while len(tokens) < VOCABULARY:
        if len(tokens) > VOCABULARY // 2 and draw is not None and seed:
            draw, seed = random.Random(seed), 0
        beginning, letter = draw.choice(grown), letters[min(draw.randrange(23), draw.randrange(22))]
        if len(beginning) < 14 and beginning + letter not in tokens:
            merges.append((beginning, letter))
            tokens[beginning + letter] = None
            grown.append(beginning + letter)
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.add_special_tokens(LLAMA_SPECIALS)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=LLAMA_SPECIALS[-1], pad_token=LLAMA_SPECIALS[0])


def peak_bytes() -> int:
    """Highest memory of this process since the last call, where Linux lets it be reset; else since its start."""
    status = Path("/proc/self/status")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if status.is_file():
        peak = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")
    return peak


def cost(study: Cells) -> Iterator[dict]:
    """Seconds and memory of value and gradient of one micro-batch, in turns; and of the tables, once."""
    student, teacher = made_up(1), made_up(2)
    draw = random.Random(3)
    words = ["".join(draw.choices("etaoinshrdlucmfwygpbvk", k=draw.randint(2, 9))) for _ in range(TOKENS * 4)]
    ids = student.encode(" ".join(words))
    batch = Batch(student, teacher, [ids[i * TOKENS // ROWS : (i + 1) * TOKENS // ROWS] for i in range(ROWS)], finished=False)
    generator = torch.Generator().manual_seed(0)
    student_logits = (torch.randn(len(batch.student_ids), VOCABULARY, generator=generator) * 3).requires_grad_()
    teacher_logits = torch.randn(len(batch.teacher_ids), VOCABULARY, generator=generator) * 3
    losses, tables = {}, {}
    for kind in LOSSES:
        start = time.process_time()
        losses[kind] = built(kind, student, teacher)
        tables[kind] = time.process_time() - start
    seconds, peaks = {kind: [] for kind in LOSSES}, {kind: [] for kind in LOSSES}
    for turn in range(ROUNDS + 1):
        for kind in LOSSES:
            if time.monotonic() > study.end:
                raise OutOfTime
            gc.collect()
            peak_bytes()
            before, start = resident_bytes(), time.process_time()
            batch.loss(losses[kind], student_logits, teacher_logits).sum().backward()
            spent = time.process_time() - start
            if turn:  # the first fills caches
                seconds[kind].append(spent)
                peaks[kind].append(peak_bytes() - before)
            student_logits.grad = None
    sizes = {"student_tokens": len(batch.student_ids), "teacher_tokens": len(batch.teacher_ids), "vocabulary": VOCABULARY}
    for kind in LOSSES:
        found = {"seconds": statistics.median(seconds[kind]), "bytes": statistics.median(peaks[kind]), "table_seconds": tables[kind]}
        yield {"case": "150,000", "loss": kind, **sizes, **found, "rounds": ROUNDS}


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.is_file() else 0


def cut_short(tokenizer) -> PreTrainedTokenizerFast:
    """The same vocabulary without the last third of the merges: the text in finer tokens."""
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    merges = described["model"]["merges"]
    described["model"]["merges"] = merges[: 2 * len(merges) // 3]
    backend = Tokenizer.from_str(json.dumps(described))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=tokenizer.eos_token, pad_token=tokenizer.pad_token)


def real(study: Cells) -> Iterator[dict]:
    """One set of weights on both sides, so that all there is to say differently is where tokens end."""
    tokenizer = AutoTokenizer.from_pretrained(directory())
    model, finer = AutoModelForCausalLM.from_pretrained(directory(), dtype=torch.float32).eval(), cut_short(tokenizer)
    prose = [
        part.replace("\n", " ") for part in (ROOT / "docs/faq.md").read_text().split("\n\n") if len(part) > 400 and "`" not in part[:1]
    ]
    batch = Batch(tokenizer, finer, [tokenizer.encode(part)[:48] for part in prose[:8]], finished=False)
    with torch.no_grad():
        sides = [
            logits_of(model, ids, lengths)
            for ids, lengths in ((batch.student_ids, batch.student_lengths), (batch.teacher_ids, batch.lengths))
        ]
    sizes = {"student_tokens": len(batch.student_ids), "teacher_tokens": len(batch.teacher_ids)}
    for name, side in (("own", tokenizer), ("finer", finer)):
        for question in QUESTIONS:
            ids = side.encode(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", return_tensors="pt")
            answer = model.generate(ids, max_new_tokens=20, do_sample=False, pad_token_id=side.pad_token_id)[0, ids.shape[1] :]
            yield {"case": "answer", "tokenizer": name, "question": question, "answer": side.decode(answer), "prompt_tokens": ids.shape[1]}
    for kind in LOSSES:
        loss, own = built(kind, tokenizer, finer), sides[0].clone().requires_grad_()
        batch.loss(loss, own, sides[1])  # fills the caches
        start = time.process_time()
        loss_P = batch.loss(loss, own, sides[1])
        gradient = torch.autograd.grad(loss_P.sum(), own)[0]
        found = {"seconds": time.process_time() - start, "nats": loss_P.mean().item(), "median_nats": loss_P.median().item()}
        found |= {"gradient": gradient.abs().sum(-1).mean().item(), "below": (loss_P < 0.05).float().mean().item()}
        yield {
            "case": "SmolLM2",
            "loss": kind,
            **sizes,
            "scored": len(loss_P) / len(batch.student_ids),
            "spanning": batch.spanning,
            **found,
        }


def logits_of(model, ids: list[int], lengths: list[int]) -> torch.Tensor:
    """Logits that predict every token, each row after a line break."""
    parts, start = [], 0
    for length in lengths:
        row = torch.tensor([[198, *ids[start : start + length]]])
        parts.append(model(row[:, :-1]).logits[0])
        start += length
    return torch.cat(parts)


def margin(study: Cells) -> Iterator[dict]:
    """What a student learns, by the exams of its run; runs that are there come first."""
    cells = [{"case": teacher, "loss": kind, "seed": seed} for seed in SEEDS for teacher in TEACHERS for kind in LOSSES]
    places = {study.root / "{case}_{loss}_{seed}".format(**cell): cell for cell in cells}
    for place, cell in sorted(places.items(), key=lambda pair: not (pair[0] / "summary.json").is_file()):
        if any({"part": "margin", **cell}.items() <= row.items() for row in study.results):
            continue
        if not (place / "summary.json").is_file():
            given = [*RUN, *TEACHERS[cell["case"]], f"seed={cell['seed']}", f"output_dir={place}", f"cache.dir={study.root / '.cache'}"]
            study.command([SCRIPTS[cell["loss"]], *given, "resume=auto"])
        run = read_run(place)
        names = ("chosun_rate", "margin", "leakage", "content", "degenerate")
        yield cell | {name: run.after.get(name) for name in names} | {"teacher": run.teacher_margin}


PARTS: dict[str, Callable[[Cells], Iterator[dict]]] = {"exactness": exactness, "cost": cost, "real": real, "margin": margin}


def measure(study: Cells, part: str) -> None:
    """What is missing of a part, as lines of the results; raises OutOfTime."""
    if part != "margin" and any(row["part"] == part for row in study.results):
        return
    for found in PARTS[part](study):
        row = {"part": part, **found, "date": str(date.today()), "machine": processor()}
        with open(study.file, "a") as lines:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        study.results.append(row)
        print(json.dumps(row, ensure_ascii=False), flush=True)


def text_of(results: list[dict]) -> str:
    """The tables, from the results."""
    plain = [Column("pair", lambda row: row["case"]), Column("loss", lambda row: f"`{row['loss']}`")]
    columns = {
        "exactness": [
            Column("run beyond a teacher token", lambda row: number(row["spanning"]), right=True),
            Column("exact positions", lambda row: number(row["exact"]), right=True),
            Column("at the truth: nats", lambda row: number(row["truth_nats"], 4), right=True),
            Column("gradient", lambda row: number(row["truth_gradient"], 4), right=True),
            Column("at a drawn student: nats off", lambda row: f"{number(row['drawn_nats'], 3)} of {number(row['nats'], 3)}", right=True),
            Column("gradient off", lambda row: number(row["drawn_gradient"], 3), right=True),
        ],
        "real": [
            Column("run beyond a teacher token", lambda row: number(row["spanning"]), right=True),
            Column("nats", lambda row: number(row["nats"], 4), right=True),
            Column("median", lambda row: number(row["median_nats"], 4), right=True),
            Column("gradient", lambda row: number(row["gradient"], 4), right=True),
            Column("below 0.05 nats", lambda row: number(row["below"]), right=True),
            Column("seconds", lambda row: number(row["seconds"], 2), right=True),
        ],
        "cost": [
            Column("tokens", lambda row: f"{row['student_tokens']} and {row['teacher_tokens']}", right=True),
            Column("seconds", lambda row: number(row["seconds"], 2), right=True),
            Column("GB on top of the logits", lambda row: number(row["bytes"] / 1e9, 2), right=True),
            Column("tables, once: seconds", lambda row: number(row["table_seconds"], 1), right=True),
        ],
        "margin": [
            Column("seed", lambda row: row["seed"], right=True),
            *(
                Column(name, lambda row, name=name: number(row[name]), right=True)
                for name in ("margin", "chosun_rate", "leakage", "content", "degenerate")
            ),
        ],
    }
    texts = []
    for part, further in columns.items():
        rows = [row for row in results if row["part"] == part and "loss" in row]
        if part == "margin":
            rows.sort(key=lambda row: (list(TEACHERS).index(row["case"]), row["loss"], row["seed"]))
        if not rows:
            texts.append(f"**{part}**: not measured yet (`python benchmarks/two_tokenizers.py --only {part}`)\n")
            continue
        said = "; ".join(sorted({f"{row['machine']}, {row['date']}" for row in rows}))
        missing = len(SEEDS) * len(TEACHERS) * len(LOSSES) - len(rows) if part == "margin" else 0
        texts.append(
            f"**{part}** ({said}{f'; {missing} runs are missing' if missing else ''})\n\n{markdown_table([*plain, *further], rows)}"
        )
    return "\n".join(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    parser.add_argument("--root", type=Path, default=ROOT / "multirun" / "two_tokenizers", help="where the runs go")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "two_tokenizers.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "two_tokenizers.md")
    parser.add_argument("--only-write", action="store_true", help="measure nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.root.mkdir(parents=True, exist_ok=True)
    study = Cells((), {}, given.root, given.results, given.minutes)
    try:
        for part in [] if given.only_write else given.only:
            measure(study, part)
    except OutOfTime:
        print("The time is over: the same command continues.")
    write_page(given.page, f"\n{text_of(study.results)}")


if __name__ == "__main__":
    main()
