"""Sections 3 and 2: decoding alone against the weights' floor; attention kernels, and what a token costs in launches and waits."""

import statistics
import time
from collections import Counter
from dataclasses import replace

import torch
from stepping import floor, ours
from stepping.shapes import load_tokenizer, texts

from card.case import Case
from card.memory import _lora
from card.parts import Report, ran_out_of_memory
from card.steps import build_ours, prompts, use_microbatch
from gold_style.chat import Chat
from gold_style.engine import graph_decoder
from gold_style.engine.backbone import Backbone
from gold_style.engine.draws import uniforms
from gold_style.engine.rollout import OutputIds, Sampling, Way, generate

ROUNDS = 3


def decode(case: Case, report: Report) -> None:
    """Tokens a second of our graph, of our loop and of transformers' `generate`, at several numbers of rows."""
    from peft import get_peft_model

    shape = case.shape
    student = case.student(case.compute).eval().requires_grad_(False)
    graph = "graph" if case.on_card else "fixed"
    tokenizer = load_tokenizer(shape)
    chat = Chat(tokenizer, tokenizer, texts(shape).pack, teacher_system_prompt=None)
    output_ids = OutputIds.of(tokenizer, student)
    weights = sum(parameter.nbytes for parameter in student.parameters())
    bandwidth = floor.best_bandwidth(case.now, case.device, size=2**30 if case.on_card else 2**24)
    token_s = weights / bandwidth
    report.fact(weights_gb=round(weights / 1e9, 2), bandwidth_gb_s=round(bandwidth / 1e9, 1), weight_floor_ms=round(token_s * 1e3, 3))

    def measure(way: str, num_rows: int, call, rounds: int = ROUNDS) -> None:
        if case.give_up_on(5):
            return
        try:
            call(shape.new_tokens if "graph" in way else 4)  # the capture, which later windows do not pay for
            seconds = []
            while len(seconds) < rounds and (not seconds or case.seconds_left > 2 * seconds[-1] + 2):
                start = case.now()
                call(shape.new_tokens)
                seconds.append(case.now() - start)
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            report.row("decode", way=way, rows=num_rows, said=str(error).splitlines()[0][:200])
            return
        median = statistics.median(seconds)
        per_token, number = median / shape.new_tokens, round(num_rows * shape.new_tokens / median, 1)
        report.row(
            "decode",
            way=way,
            rows=num_rows,
            seconds=round(median, 4),
            ms_a_token=round(per_token * 1e3, 3),
            tokens_s=number,
            share_of_floor=round(token_s / per_token, 3),
        )

    def own(model, num_rows: int, way: Way, sampling: Sampling):
        ids = [chat.student_ids(prompt) for prompt in prompts(case, num_rows)]

        def call(new_tokens: int) -> None:
            drawn = uniforms([("decode", row) for row in range(num_rows)], new_tokens)
            how = {"output_ids": output_ids, "sampling": sampling, "uniforms_BG": drawn, "way": way}
            generate(Backbone(model), ids, max_new_tokens=new_tokens, **how)

        return call

    def library(num_rows: int):
        ids = [chat.student_ids(prompt) for prompt in prompts(case, num_rows)]
        width = max(map(len, ids))
        padded = torch.tensor([[0] * (width - len(row)) + list(row) for row in ids], device=case.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=case.device)

        def call(new_tokens: int) -> None:
            lengths = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
            with torch.no_grad():
                student.generate(input_ids=padded, attention_mask=mask, do_sample=True, top_k=0, temperature=1.0, **lengths)

        return call

    plain, nucleus = Sampling(temperature=1.0), Sampling(top_p=0.95)
    for num_rows in (8, 32, 128):
        measure("graph", num_rows, own(student, num_rows, graph, plain))
        measure("own loop", num_rows, own(student, num_rows, "loop", plain))
    for num_rows in (8, 128):
        measure("graph, top_p .95", num_rows, own(student, num_rows, graph, nucleus))
    measure("the graph's steps without it", 8, own(student, 8, "fixed", plain), rounds=1)
    measure("own loop, top_p .95", 8, own(student, 8, "loop", nucleus), rounds=1)
    report.fact(captured=case.on_card and student not in graph_decoder._refused)
    for num_rows in (8, 32, 128):
        measure("transformers", num_rows, library(num_rows), rounds=1)
    measure("own loop, LoRA r16", 8, own(get_peft_model(student, _lora()).eval(), 8, "loop", plain), rounds=1)


# ---- kernels ---------------------------------------------------------------------------------------------------------

ATTENTION = ("scaled_dot_product", "flash_attention", "efficient_attention", "attention_math", "cudnn_attention")
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernelEx", "cudaGraphLaunch")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
PROFILED_TOKENS = 16


def kernels(case: Case, report: Report) -> None:
    """Phases of a step under torch's profiler: attention operations, kernels, launches and waits."""
    side = build_ours(case)
    ours.set_new_tokens(side.trainer, PROFILED_TOKENS)
    use_microbatch(side, "whole window")
    plain, watched = side.trainer._timed, {}
    side.trainer._timed = lambda name: _Profiled(case, report, watched[name], name, plain) if name in watched else plain(name)
    watched |= {"teacher": "first step"}  # in it the teacher reads its prefixes
    side.step()
    watched |= dict.fromkeys(("rollout", "teacher", "student"), "later step")
    side.step()
    watched.clear()
    options = side.trainer.row_maker.options
    side.trainer.row_maker.options = replace(options, sampling=Sampling(temperature=1.0, top_p=0.95))
    watched["rollout"] = "later step, top_p .95"
    side.step()


class _Profiled:
    """A phase under the profiler."""

    def __init__(self, case: Case, report: Report, step: str, name: str, plain):
        from torch.profiler import ProfilerActivity, profile

        self.report, self.step, self.name, self.plain = report, step, name, plain(name)
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if case.on_card else [])]
        self.profile = profile(activities=activities)

    def __enter__(self):
        self.profile.__enter__()
        return self.plain.__enter__()

    def __exit__(self, *found):
        self.plain.__exit__(*found)
        self.profile.__exit__(*found)
        if found[0] is None:
            _report_phase(self.report, self.step, self.name, self.profile.key_averages())


def _report_phase(report: Report, step: str, phase: str, events) -> None:
    counts = Counter({event.key: event.count for event in events})
    attention = {key: number for key, number in counts.items() if any(part in key for part in ATTENTION) and key.startswith("aten::")}
    tokens = PROFILED_TOKENS if phase == "rollout" else 1

    def a_token(number: float) -> float:
        return round(number / tokens, 2)

    kernels = sorted((event for event in events if _device_us(event)), key=_device_us, reverse=True)
    report.row(
        "phases",
        step=step,
        phase=phase,
        of="a token" if phase == "rollout" else "a window",
        operations=a_token(sum(number for key, number in counts.items() if key.startswith("aten::"))),
        launches=a_token(sum(number for key, number in counts.items() if key.startswith(LAUNCHES))),
        waits=a_token(sum(counts[key] for key in WAITS)),
        reads_of_a_number=a_token(counts["aten::_local_scalar_dense"]),
        kernels_ms=a_token(sum(map(_device_us, kernels)) / 1e3),
        attention="; ".join(f"{key.removeprefix('aten::')} {number}" for key, number in sorted(attention.items())) or None,
    )
    heads = [event for event in kernels if any(part in event.key.lower() for part in ("flash", "fmha", "attention", "softmax"))]
    for event in dict.fromkeys([*kernels[:4], *heads[:3]]):
        name = event.key if len(event.key) < 90 else event.key[:87] + "..."
        report.row("kernels", step=step, phase=phase, kernel=name, calls=event.count, kernels_ms=round(_device_us(event) / 1e3, 3))


def _device_us(event) -> float:
    """Of a kernel on the card; operations and calls of the library have none of their own."""
    return event.self_device_time_total if str(event.device_type).endswith("CUDA") else 0.0


def sleep(case: Case, report: Report, seconds: float) -> None:
    """A part that does nothing: for the test of deadlines."""
    report.fact(began=True)
    time.sleep(seconds)
