"""Section 0: what is measured on: versions, card, bandwidth, rate of products, cost of a launch, seconds to build the pair."""

import os
import time

import torch
from stepping import floor
from stepping.results import provenance

from card.case import Case, synchronise
from card.parts import Report


def describe(case: Case, report: Report) -> None:
    found = provenance(case.device, case.threads)
    report.fact(**{name: found[name] for name in ("machine", "cores", "python", "commit", "date")}, **found["versions"])
    report.fact(card=torch.cuda.get_device_name() if case.on_card else "cpu", pair=case.name, rows=case.shape.window)
    report.fact(vocab=case.shape.vocab, system_tokens=case.shape.system_tokens, new_tokens=case.shape.new_tokens)
    if case.on_card:
        card = torch.cuda.get_device_properties(0)
        report.fact(memory_gb=round(card.total_memory / 1e9, 2), multiprocessors=card.multi_processor_count, cuda=torch.version.cuda)
        report.fact(capability=f"{card.major}.{card.minor}", free_gb=round(torch.cuda.mem_get_info()[0] / 1e9, 2))
    size = 2**30 if case.on_card else 2**24
    report.fact(bandwidth_gb_s=round(floor.best_bandwidth(case.now, case.device, size=size) / 1e9, 1))
    for dtype in (torch.bfloat16, torch.float32):
        rate = floor.best_rate(case.now, case.device, dtype, size=8192 if case.on_card else 256, tries=3)
        report.fact(**{f"{str(dtype).removeprefix('torch.')}_tflop_s": round(rate / 1e12, 3)})
    report.fact(launch_us=round(launch_seconds(case) * 1e6, 2), memory_of_host_gb=_host_gb())
    for name, build in (("teacher", case.teacher), ("student", case.student)):
        start = time.perf_counter()
        model = build()
        synchronise(case.device)
        seconds, weights = time.perf_counter() - start, sum(parameter.numel() for parameter in model.parameters())
        dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        report.row("models", model=name, parameters=weights, dtype=dtype, build_s=round(seconds, 2))


def launch_seconds(case: Case, count: int = 2000) -> float:
    """Of one small operation among many: what a decode loop pays per operation, however small."""
    x = torch.zeros(8, device=case.device)
    for _ in range(100):
        x.add_(1)
    start = case.now()
    for _ in range(count):
        x.add_(1)
    return (case.now() - start) / count


def _host_gb() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
