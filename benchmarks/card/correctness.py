"""Section 1: our ways against plain ones on four layers of the real width, in bf16 and fp32.

A difference is ||ours - plain|| / ||plain||. Where a tolerance is given the check passes or fails; the others only show a number.
"""

from dataclasses import replace

import torch
from stepping.shapes import BETA, load_tokenizer, texts

from card.case import Case
from card.parts import Report, freed
from card.steps import build_ours, use_microbatch
from gold_style.chat import Chat
from gold_style.engine import graph_decoder
from gold_style.engine.backbone import Backbone
from gold_style.engine.draws import uniforms
from gold_style.engine.packed_reading import PackedReader
from gold_style.engine.rollout import GREEDY, Batch, OutputIds, Sampling, candidates, generate
from gold_style.engine.teacher import Scored, Teacher
from gold_style.losses.divergence import JSD
from gold_style.losses.fused import fused_jsd

LAYERS = 4
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
DECODED = 16  # tokens of a decode that is checked
CAPTURED = 100  # by a graph: enough for two of them
TOKENS = 96  # of the loss that is checked


class Checks:
    """Writes one row a check."""

    def __init__(self, report: Report, dtype: torch.dtype):
        self.report, self.dtype = report, str(dtype).removeprefix("torch.")

    def compare(self, check: str, ours: torch.Tensor, plain: torch.Tensor, tolerance: float | None) -> None:
        ours, plain = ours.double().flatten(), plain.double().flatten()
        difference = float((ours - plain).norm() / plain.norm())
        self._row(check, difference, tolerance, largest=float((ours - plain).abs().max()), scale=float(plain.abs().max()))

    def same(self, check: str, ours, plain) -> None:
        """Exactly equal."""
        self._row(check, 0.0 if ours == plain else 1.0, 0.0)

    def share(self, check: str, ours: list, plain: list, tolerance: float | None) -> None:
        """Of the members of one list that differ from those of the other."""
        self._row(check, sum(own != other for own, other in zip(ours, plain, strict=True)) / len(plain), tolerance)

    def _row(self, check: str, difference: float, tolerance: float | None, **more) -> None:
        passed = None if tolerance is None else difference <= tolerance  # not a number: False
        numbers = {name: float(f"{value:.3g}") for name, value in {"difference": difference, **more}.items()}
        self.report.row("checks", check=check, dtype=self.dtype, tolerance=tolerance, passed=passed, **numbers)


def check(case: Case, report: Report, dtype_name: str) -> None:
    dtype = getattr(torch, dtype_name)
    checks = Checks(report, dtype)
    student = case.student(dtype, LAYERS).eval()
    teacher = case.teacher(dtype, LAYERS)
    failures = []
    for one in (_decode_step, _graph, _prefix, _packed, _loss):
        try:
            one(case, checks, student, teacher, TOLERANCE[dtype])
        except Exception as error:  # the other checks still count
            failures.append(f"{one.__name__}: {type(error).__name__}: {str(error)[:300]}")
            report.fact(crashed=failures)
    del student
    freed(case.device)
    _training(case, checks, teacher, dtype)
    if failures:
        raise RuntimeError("\n".join(failures))


def _decode_step(case: Case, checks: Checks, student, teacher, tolerance: float) -> None:
    """Logits after each of the same new tokens, by our step and by the model's own forward with its own cache."""
    shape = case.shape
    tokenizer = load_tokenizer(shape)
    chat = Chat(tokenizer, tokenizer, texts(shape).pack, teacher_system_prompt=None)
    prompts = [chat.student_ids(prompt) for prompt in texts(shape).prompts]
    draw = torch.Generator().manual_seed(0)
    new_ids = torch.randint(300, shape.vocab_size - 3, (DECODED, len(prompts)), generator=draw).to(case.device)
    found = []
    with torch.no_grad():
        for uses_step in (True, False):
            batch, logits = Batch(Backbone(student), prompts, DECODED + 1, None), []
            if uses_step and batch.step_decoder is None:
                raise RuntimeError("the model has no decode step")
            if not uses_step:
                batch.step_decoder = None
            for g in range(DECODED):
                logits.append(batch.next_logits(g)[:, : shape.vocab_size].float())
                batch.advance(new_ids[g])
            found.append(torch.stack(logits))
    ours, plain = found
    checks.compare("prompt: first logits", ours[0], plain[0], tolerance)
    checks.compare("decode step: logits", ours[1:], plain[1:], tolerance)
    probs = [candidates(logits.flatten(0, 1), Sampling(temperature=1.0))[1] for logits in (ours, plain)]
    moved_N = (probs[0] - probs[1]).abs().sum(-1) / 2
    same_top = float((ours.argmax(-1) == plain.argmax(-1)).double().mean())
    moved = {"moved_mean": round(float(moved_N.mean()), 6), "moved_most": round(float(moved_N.max()), 6)}
    checks.report.row("probability moved by the decode step", dtype=checks.dtype, **moved, same_most_probable=round(same_top, 4))


def _graph(case: Case, checks: Checks, student, teacher, tolerance: float) -> None:
    """Completions by captured graphs against the same code without capture, again after the weights have changed in place, and against the
    loop: there another order of rounding may decide a draw that lies close to the next token. (Without a card: by the same code twice.)"""
    shape, backbone = case.shape, Backbone(student.requires_grad_(False))
    tokenizer = load_tokenizer(shape)
    chat = Chat(tokenizer, tokenizer, texts(shape).pack, teacher_system_prompt=None)
    prompts = [chat.student_ids(prompt) for prompt in texts(shape).prompts]
    how = {"max_new_tokens": CAPTURED, "output_ids": OutputIds.of(tokenizer, student)}
    how["uniforms_BG"] = uniforms([("graph", row) for row in range(len(prompts))], CAPTURED)
    ways = {"greedy": GREEDY, "sampled": Sampling(), "top_p .9": Sampling(top_p=0.9), "top_k 50": Sampling(top_k=50)}
    for name, sampling in ways.items():
        found = {}
        for way in ("graph" if case.on_card else "fixed", "fixed", "loop"):
            found.setdefault("graph" if not found else way, generate(backbone, prompts, sampling=sampling, way=way, **how))
        checks.same(f"graph against its steps without it: {name}", found["graph"], found["fixed"])
        checks.share(f"graph against the loop: {name}", found["graph"], found["loop"], 0.25 if checks.dtype == "float32" else None)
    changed = []
    for way in ("graph", "fixed") if case.on_card else ("fixed", "fixed"):
        with torch.no_grad():
            before = [weight.clone() for weight in student.parameters()]
            generate(backbone, prompts, sampling=GREEDY, way=way, **how)
            for weight in student.parameters():
                weight.mul_(1.25)
            changed.append(generate(backbone, prompts, sampling=GREEDY, way=way, **how))
            for weight, old in zip(student.parameters(), before, strict=True):
                weight.copy_(old)
    checks.same("graph against its steps without it: after new weights", *changed)
    if case.on_card:
        checks.same("graph: captured", student in graph_decoder._refused, False)


def _scored(case: Case, teacher) -> list[Scored]:
    tokenizer, data = load_tokenizer(case.shape), texts(case.shape)
    chat = Chat(tokenizer, tokenizer, data.pack, teacher_system_prompt=None)
    answers = [tuple(tokenizer(prompt.reference)["input_ids"]) for prompt in data.prompts]
    return [Scored(chat.teacher_ids(prompt), answer) for prompt, answer in zip(data.prompts, answers, strict=True)]


def _prefix(case: Case, checks: Checks, student, teacher, tolerance: float) -> None:
    """The teacher's states after its cached prefix against those of the whole prompt."""
    rows = _scored(case, teacher)
    tokenizer = load_tokenizer(case.shape)
    cached = Teacher(teacher, tokenizer).hidden(rows)
    whole = Teacher(teacher, tokenizer, prefix_cache_bytes=0).hidden(rows)
    checks.compare("prefix cache: the teacher's states", torch.cat(cached), torch.cat(whole), tolerance)
    again = Teacher(teacher, tokenizer, tokens_per_batch=1).hidden(rows)
    checks.compare("one row at a time: the teacher's states", torch.cat(again), torch.cat(cached), tolerance)


def _packed(case: Case, checks: Checks, student, teacher, tolerance: float) -> None:
    reader = PackedReader.of(Backbone(teacher))
    if reader is None:
        checks.report.fact(packed_reading="not on this device")
        return
    sequences = [row.prompt.rest + row.completion for row in _scored(case, teacher)]
    packed = reader.read(sequences, [len(sequence) for sequence in sequences])
    with torch.no_grad():
        plain = [Backbone(teacher).hidden(torch.tensor([sequence], device=case.device))[0] for sequence in sequences]
    checks.compare("packed reading: states", torch.cat(packed), torch.cat(plain), tolerance)


def _loss(case: Case, checks: Checks, student, teacher, tolerance: float) -> None:
    """Value and gradient against float64 products of the same (rounded) numbers: two unlike distributions, and two nearly equal ones."""
    vocab, dtype = case.shape.vocab_size, student.lm_head.weight.dtype
    draw = torch.Generator(device=case.device).manual_seed(0)

    def states(width: int, scale: float) -> torch.Tensor:
        return (torch.randn(TOKENS, width, generator=draw, device=case.device) * scale).to(dtype)

    own_head, other_head = student.lm_head.weight.detach(), teacher.lm_head.weight.detach()
    scale = [4.5 / (0.02 * head.shape[1] ** 0.5) for head in (own_head, other_head)]  # logits spread as a language model's do
    hidden = states(own_head.shape[1], scale[0])
    near = (hidden.float() + 0.02 * states(own_head.shape[1], scale[0]).float()).to(dtype)
    for name, target, head, limit in (
        ("fused loss", states(other_head.shape[1], scale[1]), other_head, tolerance),
        ("fused loss, nearly equal sides", near, own_head, None),
    ):
        values, gradients = [], []
        weight_N = torch.full((TOKENS,), 1 / TOKENS, device=case.device)
        for exact in (False, True):
            leaf, wide = hidden.clone().requires_grad_(), own_head.clone().requires_grad_()
            if exact:
                leaf, wide = (x.detach().double().requires_grad_() for x in (leaf, wide))
                own_logits, its_logits = leaf @ wide[:vocab].T, target.double() @ head[:vocab].double().T
                loss = (JSD(beta=BETA)(own_logits, its_logits) * weight_N).sum()
            else:
                loss, _ = fused_jsd(leaf, wide, target, head, weight_N, BETA, vocab_size=vocab)
            loss.backward()
            values.append(loss.detach())
            gradients.append((leaf.grad, wide.grad))
        checks.compare(f"{name}: value", *values, limit)
        checks.compare(f"{name}: gradient of the states", gradients[0][0], gradients[1][0], limit)
        checks.compare(f"{name}: gradient of the head", gradients[0][1], gradients[1][1], limit)


def _training(case: Case, checks: Checks, teacher, dtype: torch.dtype) -> None:
    """Whole steps: micro-batches of one row against the whole window on given answers; the same seed twice on sampled ones."""
    found = {}
    for microbatch in ("1 row", "whole window"):
        found[microbatch], _ = _train(case, teacher, dtype, microbatch, given=True, steps=1)
    for name in ("train/loss", "train/grad_norm"):
        ours, plain = (torch.tensor(found[microbatch][0][name]) for microbatch in ("1 row", "whole window"))
        checks.compare(f"micro-batch of 1 row against the window: {name.removeprefix('train/')}", ours, plain, TOLERANCE[dtype])
    (first, first_weights), (second, second_weights) = (
        _train(case, teacher, dtype, "whole window", given=False, steps=2) for _ in range(2)
    )
    checks.same("same seed twice: completions and loss of step 1", *(rows[0]["train/loss"] for rows in (first, second)))
    checks.same("same seed twice: loss of step 2", *(rows[1]["train/loss"] for rows in (first, second)))
    checks.compare("same seed twice: all weights after 2 steps", first_weights, second_weights, 0.0)


def _train(case: Case, teacher, dtype: torch.dtype, microbatch: str, given: bool, steps: int) -> tuple[list[dict], torch.Tensor]:
    """Logged rows, and all trained weights in one vector."""
    small = replace(case.shape, new_tokens=min(32, case.shape.new_tokens))
    student = case.student(layers=LAYERS)
    side = build_ours(case, student, teacher, shape=small, given=given, compute=dtype)
    use_microbatch(side, microbatch)
    for _ in range(steps):
        side.step()
    side.close()  # the last row is logged between two steps
    with torch.no_grad():
        weights = torch.cat([parameter.detach().flatten() for parameter in student.parameters()])
    return side.trainer.run.rows, weights
