"""Sections 4, 5 and 6: seconds of a step, ours alone and in turns with stock GOLDTrainer and TRL's stable DistillationTrainer."""

import statistics

import torch
from stepping import floor, ours, stable, stock
from stepping.shapes import texts

from card.case import Case
from card.parts import Report, freed
from card.phases import Side

ROUNDS = 3
WARM_TOKENS = 4  # new tokens of a side's first, uncounted step, where a whole one takes long
MANY = 10_000  # steps: more than anyone takes
MICROBATCHES = {"1 row": None, "768 tokens": 768, "whole window": 4096}  # tokens; 4,096 hold 8 rows with 256 new tokens each


def build_ours(case: Case, student=None, teacher=None, shape=None, **options) -> Side:
    student = case.student() if student is None else student
    teacher = case.teacher() if teacher is None else teacher
    directory = case.scratch("ours")
    return Side(ours.build_trainer(shape or case.shape, student, teacher, directory, steps=MANY, device=case.device, **options), case)


def use_microbatch(side: Side, name: str) -> None:
    side.trainer.decisions.tokens_per_microbatch = MICROBATCHES[name]


def our_steps(case: Case, report: Report) -> None:
    """Our trainer alone, with every micro-batch, and once with twice the new tokens."""
    least = _floor(case, report)
    side = build_ours(case)
    for new_tokens in (case.shape.new_tokens, 2 * case.shape.new_tokens):
        ours.set_new_tokens(side.trainer, new_tokens)
        for name in MICROBATCHES if new_tokens == case.shape.new_tokens else ("whole window",):
            use_microbatch(side, name)
            side.start_anew()
            side.step(counted=False)
            while len(side.seconds) < ROUNDS and side.fits_once_more():
                side.step()
            if not side.seconds:
                return
            figures = side.figures
            per_second = round(case.shape.window * new_tokens / figures["seconds"], 1)
            share = round(least / figures["seconds"], 3) if new_tokens == case.shape.new_tokens else None
            report.row(
                "ours", microbatch=name, new_tokens=new_tokens, **figures, tokens_s=per_second, share_of_floor=share, **side.peak_figures
            )
    report.row("loss", **{name: value for name, value in side.trainer.run.rows[-1].items() if name in ("train/loss", "train/grad_norm")})


def _floor(case: Case, report: Report) -> float:
    """The least seconds of a step: bytes that it must move on a card, else operations that it must make."""
    chat_lengths = [30 + round(30 * row / max(1, case.shape.window - 1)) for row in range(case.shape.window)]  # of stepping.shapes.texts
    rate = floor.best_rate(case.now, case.device, case.compute, size=8192 if case.on_card else 256, tries=3)
    least = floor.step_flops(case.pair, case.shape, chat_lengths) / rate
    if case.on_card:
        moved = floor.step_bytes(case.pair, case.shape, chat_lengths)
        report.fact(floor_bytes_gb=round(moved / 1e9, 1))
        least = max(least, moved / floor.best_bandwidth(case.now, case.device))
    report.fact(floor_s=round(least, 4))
    return least


def beside_stock(case: Case, report: Report) -> None:
    """Stock as 1 row x 8 accumulated, in turns with ours."""
    teacher = case.teacher()
    mine = build_ours(case, teacher=teacher)
    use_microbatch(mine, "whole window")
    theirs = Side(_stock(case, teacher), case)
    _in_turns(report, {"stock 1 x 8": theirs, "ours": mine}, (stock.set_new_tokens, case.shape.new_tokens))


def stock_whole(case: Case, report: Report) -> None:
    """Stock with the whole window as one micro-batch."""
    theirs = Side(_stock(case, case.teacher(), micro=case.shape.window), case)
    _in_turns(report, {"stock 8 x 1": theirs}, (stock.set_new_tokens, case.shape.new_tokens))


def _stock(case: Case, teacher, **options):
    student = case.student(case.compute)
    return stock.build_trainer(case.shape, student, teacher, case.scratch("stock"), steps=MANY, device=case.device, **options)


def beside_stable(case: Case, report: Report) -> None:
    """TRL's stable trainer, whose teacher has no system prompt to read, in turns with ours, whose teacher has."""
    teacher = case.teacher()
    mine = build_ours(case, teacher=teacher)
    use_microbatch(mine, "whole window")
    student = case.student(case.compute)
    trainer = stable.build_trainer(case.shape, student, teacher, case.scratch("stable"), steps=MANY, device=case.device)
    _in_turns(report, {"stable": Side(trainer, case), "ours": mine}, (stable.set_new_tokens, case.shape.new_tokens))


def _in_turns(report: Report, sides: dict[str, Side], slow: tuple) -> None:
    """A round is one step of each side; the first side's first step writes only a few tokens, as it may take long."""
    set_new_tokens, new_tokens = slow
    first, *others = sides.values()
    report.fact(allocated_before_gb=round(_allocated(first.case), 2))
    set_new_tokens(first.trainer, WARM_TOKENS)
    first.step(counted=False)
    set_new_tokens(first.trainer, new_tokens)
    for side in others:
        side.step(counted=False)
    for number in range(ROUNDS):
        if not all(side.fits_once_more(0.9) for side in sides.values()):
            break
        report.row("rounds", round=number + 1, **{f"{name}, s": round(side.step(), 4) for name, side in sides.items()})
    tokens = first.case.shape.window * new_tokens
    alone = len(sides) == 1
    for name, side in sides.items():
        if side.seconds:
            peaks = side.peak_figures if alone else {}
            report.row("sides", side=name, **side.figures, tokens_s=round(tokens / side.figures["seconds"], 1), **peaks)
    if not alone and first.seconds:
        (other,) = others
        ratios = [theirs / mine for theirs, mine in zip(first.seconds, other.seconds, strict=False)]
        report.fact(ratio=round(statistics.median(ratios), 2), of=f"{next(iter(sides))} / ours", rounds=len(ratios))


def _allocated(case: Case) -> float:
    return torch.cuda.memory_allocated() / 1e9 if case.on_card else freed(case.device)


def prompts(case: Case, num_rows: int):
    """So many requests of the usual lengths."""
    found = texts(case.shape).prompts
    return [found[row % len(found)] for row in range(num_rows)]
