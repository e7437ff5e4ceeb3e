"""The student in one piece: adapters merged into the copy that decodes and into the files, tensor by tensor."""

from functools import cache

import pytest
import torch
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode

from gold_style.engine.backbone import Backbone
from gold_style.engine.quantization import quantize
from gold_style.engine.rollout import generate
from gold_style.engine.teacher import Teacher
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
PROMPTS = [tuple(range(60, 60 + length)) for length in (9, 14, 11)]
FORMS = ["none", "int8", "int4"]
IDS_BT = torch.randint(0, 256, (2, 30), generator=torch.Generator().manual_seed(0))


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def trained(directory, form: str = "none", *, targets="all-linear", dtype=torch.float32, **changes):
    """A finished LoRA run of three steps, on a base in this form."""
    student = quantize(toys.model(VOCAB, **changes).to(dtype), form)
    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=targets)
    training = {"max_steps": 3, "learning_rate": 1e-2, "bf16": dtype == torch.bfloat16}
    done = toy_runs.train(
        TOKENIZER, teacher(), directory, student=student, peft_config=lora, lmbda=1.0, compute_dtype=dtype, training=training
    )
    done.model.eval()
    return done


class Operations(TorchDispatchMode):
    """Counts what torch is asked to do."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(backbone: Backbone) -> int:
    assert backbone.is_plain  # measured before, not here
    with Operations() as counted:
        generate(backbone, PROMPTS, max_new_tokens=12, output_ids=toy_runs.output_ids_of(TOKENIZER))
    return counted.count


@pytest.mark.parametrize("form", FORMS)
def test_an_adapted_student_decodes_with_the_operations_of_a_full_one(form, tmp_path):
    done = trained(tmp_path, form)
    done.student_copy.save(tmp_path / "student")
    whole = operations(Backbone(toys.Qwen2ForCausalLM.from_pretrained(tmp_path / "student")))
    with done.student_copy.for_rollouts() as student:
        assert operations(student) == whole
    assert operations(Backbone(done.model)) > 1.5 * whole


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("targets", ["all-linear", ["embed_tokens", "q_proj"]], ids=["linear", "embedding"])
def test_it_writes_what_peft_writes_and_is_saved_as_peft_merges(form, targets, tmp_path):
    done = trained(tmp_path, form, targets=targets)
    output_ids = toy_runs.output_ids_of(TOKENIZER)
    with done.student_copy.for_rollouts() as student, torch.no_grad():
        written = generate(student, PROMPTS, max_new_tokens=12, output_ids=output_ids)
        torch.testing.assert_close(student.logits(student.hidden(IDS_BT)), done.model(IDS_BT).logits, atol=1e-4, rtol=1e-4)
    for prompt, completion in zip(PROMPTS, written, strict=True):
        ids = done.model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=list(output_ids.stop_ids))
        assert tuple(ids[0, len(prompt) :].tolist()) == completion.ids
    done.student_copy.save(tmp_path / "student")
    loaded = toys.Qwen2ForCausalLM.from_pretrained(tmp_path / "student")
    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS_BT).logits, done.model(IDS_BT).logits, atol=1e-4, rtol=1e-4)
    if form == "none" and targets == "all-linear":
        saved, merged = loaded.state_dict(), done.model.merge_and_unload().state_dict()
        assert saved.keys() == merged.keys() and all(torch.equal(saved[name], merged[name]) for name in saved)


def test_the_base_has_the_compute_dtype_and_the_adapter_float32(tmp_path):
    done = trained(tmp_path, dtype=torch.bfloat16)
    dtypes = {parameter.requires_grad: set() for parameter in done.model.parameters()}
    for parameter in done.model.parameters():
        dtypes[parameter.requires_grad].add(parameter.dtype)
    assert dtypes == {True: {torch.float32}, False: {torch.bfloat16}}
    with done.student_copy.for_rollouts() as student:
        embedding = student.decoder.embed_tokens.weight
        assert embedding.data_ptr() == done.model.get_input_embeddings().weight.data_ptr(), "what no adapter changes is held once"


class Peak(TorchDispatchMode):
    """The most bytes alive at a time in storages that a model does not hold."""

    def __init__(self, model):
        super().__init__()
        self.alive, self.peak = {}, 0
        self.held = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()).data_ptr() not in self.held:
                self.alive[storage.data_ptr()] = (torch.multiprocessing.reductions.StorageWeakRef(storage), storage.nbytes())
        self.alive = {place: held for place, held in self.alive.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(nbytes for _, nbytes in self.alive.values()))
        return found


@pytest.mark.parametrize("form", FORMS)
def test_saving_needs_the_file_and_a_few_matrices_more(form, tmp_path):
    """Not the student once more: neither its weights nor its adapters, only the state that is written."""
    done = trained(tmp_path, form, layers=12)
    with Peak(done.model) as peak:
        _, state = done.student_copy.for_files(torch.bfloat16)
    written = sum({tensor.data_ptr(): tensor.nbytes for tensor in state.values()}.values())
    largest = max(tensor.nbytes for tensor in state.values())
    assert peak.peak < written + 4 * largest < 1.5 * written
