"""Section 7: the most memory that each phase takes, and whether whole steps fit on a smaller card.

A smaller card is this one with torch's allocator capped: what a card of that name has, less what the driver's context takes there.
"""

import torch
from stepping import stock

from card.case import Case
from card.parts import Report, freed, ran_out_of_memory
from card.phases import Side, reset_peak
from card.steps import MANY, build_ours, use_microbatch

CARDS = {"16 GB (T4)": 15.0, "24 GB (L4)": 22.5, "40 GB (A100)": 39.4, "48 GB (L40S)": 45.0}  # GiB that the driver shows of them
CONTEXT = 0.6  # GiB
STEPS = 2


def our_memory(case: Case, report: Report, microbatch: str, lora: bool) -> None:
    """One set-up on the whole card, then on the two cards between which its peak lies."""
    teacher = case.teacher()
    name = f"{'LoRA r16' if lora else 'all weights'}, {microbatch}"
    free, found = freed(case.device), _attempt(case, teacher, microbatch, lora, None)
    report.row("peaks", trained=name, **found)
    report.fact(left_over_gb=round(freed(case.device) - free, 2))
    for card in _cards_around(found.get("reserved_gb") or 0.0):
        if case.give_up_on(15):
            return
        outcome = _attempt(case, teacher, microbatch, lora, card)
        kept = ("fits", "peak_gb", "reserved_gb", "microbatch_tokens", "ended_in", "said")
        report.row("cards", trained=name, card=card, **{key: outcome[key] for key in kept if key in outcome})
        freed(case.device)


def _cards_around(peak_gb: float) -> list[str]:
    """The largest card that is smaller than the peak, where only the allocator's thrift could help, and the smallest that is larger."""
    room = {name: (gib - CONTEXT) * 2**30 / 1e9 for name, gib in CARDS.items()}
    smaller = [name for name in CARDS if room[name] < peak_gb][-1:]
    return smaller + [name for name in CARDS if room[name] >= peak_gb][:1]


def _attempt(case: Case, teacher, microbatch: str, lora: bool, card: str | None) -> dict:
    """Two whole steps and the student's files, on this card or on another."""
    _cap(case, card)
    side = None
    try:
        side = build_ours(case, teacher=teacher, peft_config=_lora() if lora else None)
        use_microbatch(side, microbatch)
        for _ in range(STEPS):
            side.step()
        side.phases.entered = "saving"
        reset_peak(case)
        side.trainer.student_copy.for_files()
        side.phases.keep_peak("saving")
        saving = side.phases.peaks.get("saving", 0.0)
        result = {"fits": True, **side.figures, **side.peak_figures, "saving_gb": round(saving, 2)}
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        result = {"fits": False, "ended_in": side.phases.entered if side else "building", "said": str(error).splitlines()[0][:200]}
    if side:
        result |= {"microbatch_tokens": side.trainer.decisions.tokens_per_microbatch, "reserved_gb": round(side.phases.reserved, 2)}
        side.close()
    _cap(case, None)
    return result


def _cap(case: Case, card: str | None) -> None:
    if case.on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        total = torch.cuda.get_device_properties(0).total_memory
        share = 1.0 if card is None else min(1.0, (CARDS[card] - CONTEXT) * 2**30 / total)
        torch.cuda.set_per_process_memory_fraction(share)


def _lora():
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")


def stock_memory(case: Case, report: Report) -> None:
    """Stock, one row a micro-batch, on completions that are given: they need no time, and its peak lies in the student's phase."""
    student, teacher = case.student(case.compute), case.teacher()
    directory = case.scratch("stock")
    trainer = stock.build_trainer(case.shape, student, teacher, directory, steps=MANY, device=case.device, given=True)
    side = Side(trainer, case)
    for _ in range(STEPS):
        side.step()
    trained = f"stock, {str(case.compute).removeprefix('torch.')} weights, 1 row"
    report.row("peaks", trained=trained, fits=True, **side.figures, **side.peak_figures, reserved_gb=round(side.phases.reserved, 2))
