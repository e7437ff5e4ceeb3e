"""The student's packed training pass: value and gradient of the model's own padded forward, and its own forward where that does more."""

import pytest
import torch

from gold_style.distil.micro_batch import MicroBatch
from gold_style.distil.objective import scored_states
from gold_style.engine import packed_reading
from gold_style.engine.backbone import Backbone
from gold_style.engine.decode_step import is_llama_like
from gold_style.engine.packed_reading import PackedReader, SwiGLU
from gold_style.engine.prefix_cache import PrefixCache
from tests.helpers import toys

VOCAB = 90  # of which toys.model takes VOCAB - 3 for the padding id, whose embedding torch gives no gradient; a student may write it
SEQUENCES = [(5, VOCAB - 3, 7, 8), tuple(range(20, 57)), (1, 2, 3), (9,) * 11]
SCORED = [range(2, 4), range(10, 37), range(0), range(10, 11)]  # the third row was refused by the alignment: nothing of it is scored


def micro_batch() -> MicroBatch:
    width = max(map(len, SEQUENCES))
    return MicroBatch(
        rows=[None] * 4,
        student_ids_BT=torch.tensor([[*ids, *([0] * (width - len(ids)))] for ids in SEQUENCES]),
        row_N=torch.tensor([b for b, places in enumerate(SCORED) for _ in places]),
        position_N=torch.tensor([place for places in SCORED for place in places]),
        completion_N=torch.zeros(30, dtype=torch.long),
        readings=[],
        weight=1.0,
        stats_mask_N=torch.zeros(30, dtype=torch.bool),
    )


def padded_states(student: Backbone, batch: MicroBatch) -> torch.Tensor:
    return student.hidden(batch.student_ids_BT)[batch.row_N, batch.position_N]


def test_packed_training_pass_equals_the_padded_one():
    """Value, and the gradient of every parameter, of a function that weighs each number differently."""
    model = toys.model(VOCAB, layers=3, scale=0.3, dtype=torch.float64).train()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    student, batch, found = Backbone(model), micro_batch(), []
    assert PackedReader.for_training(student) is not None
    for states in (padded_states, scored_states):
        model.zero_grad()
        hidden_ND = states(student, batch)
        (hidden_ND * torch.linspace(-1, 2, hidden_ND.numel(), dtype=torch.float64).view_as(hidden_ND)).sum().backward()
        found.append((hidden_ND.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}))
    (expected, expected_grads), (hidden_ND, grads) = found
    torch.testing.assert_close(hidden_ND, expected, rtol=1e-5, atol=1e-5)  # transformers rotates and normalises in float32
    assert grads.keys() == expected_grads.keys() and len(grads) > 30
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-4, atol=1e-5 * float(expected_grads[name].abs().max()) + 1e-9)


def test_swiglu_has_the_right_gradient():
    gate, up = (torch.randn(7, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.testing.assert_close(SwiGLU.apply(gate, up), torch.nn.functional.silu(gate) * up)
    assert torch.autograd.gradcheck(SwiGLU.apply, (gate, up))


def test_blocks_do_not_show():
    gate, up = (torch.randn(100, 2000) for _ in range(2))
    torch.testing.assert_close(SwiGLU.apply(gate, up), torch.nn.functional.silu(gate) * up)


@pytest.mark.parametrize("why", ["hook", "autocast", "attention dropout", "gradient checkpointing"])
def test_the_models_own_forward_runs_where_it_does_more(why):
    model = toys.model(VOCAB, attention_dropout=0.1 if why == "attention dropout" else 0.0).train()
    if why == "hook":
        model.model.register_forward_hook(lambda *_: None)
    if why == "gradient checkpointing":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=why == "autocast"):
        assert PackedReader.for_training(Backbone(model)) is None
    assert PackedReader.for_training(Backbone(toys.model(VOCAB))) is not None


def test_windows_of_attention_are_left_to_the_models_own_forward():
    """Packed, every token would look at all earlier ones."""
    student = Backbone(toys.model(VOCAB, use_sliding_window=True, sliding_window=4, max_window_layers=1))
    assert student.decoder.config.layer_types == ["full_attention", "sliding_attention"]
    assert PackedReader.of(student) is None and not is_llama_like(student)
    assert torch.equal(scored_states(student, micro_batch()), padded_states(student, micro_batch()))


@pytest.mark.parametrize("bits, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_what_a_gpu_does_after_a_prefix_is_reading_the_whole_prompt(bits, tolerance):
    """The same function with a CPU's kernel: attention to the rows in one padded call, merged with that to the one copy of the prefix."""
    backbone = Backbone(toys.model(VOCAB, layers=3, scale=0.3, dtype=bits))
    prefix = tuple(range(40, 77))
    reader = PackedReader.of(backbone)
    reader.is_padded = True
    num_kept = [2, 30, 3, 11]
    found = reader.read(SEQUENCES, num_kept, PrefixCache(backbone, 2**30).get(prefix))
    for sequence, count, states in zip(SEQUENCES, num_kept, found, strict=True):
        with torch.no_grad():
            expected = backbone.hidden(torch.tensor([prefix + sequence]))[0, -count:]
        assert ((states - expected).float().norm() / expected.float().norm()).item() < tolerance


def test_a_gpu_reads_its_own_way_only_after_a_prefix_and_with_flash_attention(monkeypatch):
    model = toys.model(VOCAB, dtype=torch.bfloat16).to("meta")  # a device that is no CPU
    assert PackedReader.of(Backbone(model)) is PackedReader.of(Backbone(model), after_prefix=True) is None
    monkeypatch.setattr(packed_reading, "_has_flash", lambda backbone: True)
    assert PackedReader.of(Backbone(model)) is None and PackedReader.of(Backbone(model), after_prefix=True).is_padded
