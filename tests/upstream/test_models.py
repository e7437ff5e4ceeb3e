"""Stock GOLDTrainer beside ours: what happens to the models and to the numbers.

Facts 2, 10, 17, 18, 19, 24 and 25 of docs/upstream.md.
"""

from functools import cache

import pytest
import torch
from trl.experimental.gold import GOLDTrainer

from gold_style.chat import Chat
from gold_style.engine.rollout import GREEDY
from gold_style.engine.teacher import Teacher
from gold_style.losses.divergence import JSD
from tests.helpers import stock, toy_runs, toys
from tests.helpers.stock import still

pytestmark = pytest.mark.slow

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def stock_run(directory, *, student=None, of=None, asked=None, **changes) -> stock.Run:
    rows = stock.conversations(asked or toys.prompts(8))
    return stock.train(student or toys.model(VOCAB), of or toys.model(VOCAB, seed=1), TOKENIZER, rows, directory, **changes)


def our_run(directory, *, student=None, of=None, asked=None, training=None, **changes):
    student = student or toys.model(VOCAB)
    maker = toy_runs.row_maker(TOKENIZER, of or teacher(), asked or toys.prompts(8), student=student, **changes)
    recorder = toy_runs.GradientRecorder()
    trained = toy_runs.trainer(student, maker, directory, callbacks=[recorder], **(training or {}))
    trained.train()
    return trained, recorder.steps[0]


# ---- seq_kd ----------------------------------------------------------------------------------------------------------


def test_seq_kd_is_never_read(tmp_path):
    """Fact 2: with and without seq_kd the weights are equal to the bit, and the teacher never writes."""
    weights, calls = {}, []
    for seq_kd in (False, True):
        model = toys.model(VOCAB, seed=1)
        plain = model.generate
        model.generate = lambda *args, plain=plain, **kwargs: calls.append(1) or plain(*args, **kwargs)
        weights[seq_kd] = stock_run(tmp_path, of=model, seq_kd=seq_kd, max_steps=2).weights
    still(torch.equal(weights[False], weights[True]) and not calls, 2, f"{len(calls)} calls of teacher.generate")

    own, _ = our_run(tmp_path, seq_kd=False, training={"max_steps": 2})
    written, _ = our_run(tmp_path, seq_kd=True, training={"max_steps": 2})
    assert not torch.equal(toy_runs.weights(own.model), toy_runs.weights(written.model))


def test_seq_kd_is_written_by_the_teacher_with_its_system_prompt(tmp_path):
    """Ours: greedy, each completion is what `generate` gives behind the teacher's own rendered conversation."""
    asked = toys.prompts(8, references=False)
    trained, _ = our_run(tmp_path, asked=asked, seq_kd=True, sampling=GREEDY)
    rows = trained.row_maker.make(0, trained.accelerator, trained.student_copy)
    chat = Chat(TOKENIZER, TOKENIZER, toys.PACK)
    for prompt, row in zip(asked, rows, strict=True):
        assert not row.on_policy
        ids = TOKENIZER(chat.teacher_text(prompt), add_special_tokens=False)["input_ids"]
        assert toys.PACK.teacher_system(prompt.style) in TOKENIZER.decode(ids)
        written = teacher().model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=20)[0, len(ids) :]
        assert list(row.completion) == written.tolist()


# ---- vocabulary ------------------------------------------------------------------------------------------------------


def test_padded_vocabulary_rows_are_trained(tmp_path):
    """Fact 10: heads wider than the tokenizer; stock trains rows of ids that do not exist, ours leaves them at zero."""
    wide = {"tie_word_embeddings": False}

    def models():
        return toys.model(VOCAB + 5, **wide), toys.model(VOCAB + 5, seed=1, **wide)

    for uld in (False, True):
        student, of = models()
        run = stock_run(tmp_path, student=student, of=of, use_uld_loss=uld)
        moved_rows = student.lm_head.weight[VOCAB:] - models()[0].lm_head.weight[VOCAB:]
        still(bool(moved_rows.abs().max() > 1e-6) and run.losses, 10, "padded rows of the head do not move")

        student, of = models()
        _, gradients = our_run(tmp_path, student=student, of=Teacher(of, TOKENIZER), plain_uld=uld)
        assert gradients["lm_head.weight"][:VOCAB].abs().max() > 1e-4
        assert not gradients["lm_head.weight"][VOCAB:].any()


@pytest.mark.parametrize("teacher_rows", [VOCAB + 5, VOCAB + 128])
def test_the_callers_teacher_is_resized(teacher_rows, tmp_path):
    """Fact 10: without ULD the teacher's embeddings get as many rows as the student's; ours leaves them alone."""
    student_rows = VOCAB + 60
    of = toys.model(teacher_rows, seed=1)
    stock_run(tmp_path, student=toys.model(student_rows), of=of)
    still(of.get_input_embeddings().weight.shape[0] == student_rows, 10, "the teacher keeps its size")

    of = toys.model(teacher_rows, seed=1)
    before = {name: tensor.clone() for name, tensor in of.state_dict().items()}
    our_run(tmp_path, student=toys.model(student_rows), of=Teacher(of, TOKENIZER))
    assert all(torch.equal(of.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_head_narrower_than_the_tokenizer_crashes(tmp_path):
    """Fact 10: hybrid ULD indexes logits with every id of the tokenizer."""
    try:
        stock_run(tmp_path, student=toys.model(VOCAB + 2), of=toys.model(VOCAB - 2, seed=1), use_uld_loss=True, uld_use_hybrid_loss=True)
        still(False, 10, "a head narrower than the tokenizer trains under hybrid ULD")
    except IndexError:
        pass
    asked = toys.prompts(8, references=False)  # answers would hold the stop token, which this teacher cannot read
    tokenizer = toys.byte_tokenizer(eos="<|endoftext|>", template=toys.PLAIN)
    narrow, student = Teacher(toys.model(VOCAB - 2, seed=1), tokenizer), toys.model(VOCAB - 2)
    assert narrow.output_ids.vocab_size == VOCAB - 2
    maker = toy_runs.row_maker(tokenizer, narrow, asked, student=student, lmbda=1.0, vocab_size=VOCAB - 2)
    assert toy_runs.one_step(student, maker, tmp_path)[1] > 0


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_clamped_probabilities_have_no_gradient():
    """Fact 17: hybrid ULD's divergence clamps probabilities at 1e-8; at beta 0 a hopeless student learns nothing."""
    logits = torch.tensor([[0.0, 40.0, 0.0]], requires_grad=True)
    target = torch.tensor([[60.0, 0.0, 0.0]])
    GOLDTrainer.generalized_jsd_loss(logits.softmax(-1), target.softmax(-1), beta=0.0, logits_are_probs=True).backward()
    still(abs(float(logits.grad[0, 0])) < 1e-6, 17, f"the gradient is {float(logits.grad[0, 0])}, exact is -1")

    ours = logits.detach().clone().requires_grad_()
    JSD(beta=0.0)(ours, target).sum().backward()
    assert ours.grad[0, 0] == pytest.approx(-1, abs=1e-6)


def test_uld_makes_a_gradient_of_rounding_noise(tmp_path):
    """Fact 24: teacher and student identical, padded differently: the L1's sign gradient is as large as a real one."""
    asked = toys.prompts(8)
    own = float(stock_run(tmp_path, of=toys.model(VOCAB), asked=asked, use_uld_loss=True).gradients[0].norm())
    other = float(stock_run(tmp_path, asked=asked, use_uld_loss=True).gradients[0].norm())
    still(own > 0.05 * other, 24, f"gradient norm {own} for an identical teacher, {other} for another")

    of = Teacher(toys.model(VOCAB), TOKENIZER)
    trained, gradients = our_run(tmp_path, of=of, asked=asked, plain_uld=True, teacher_system_prompt="", rows_per_microbatch=3)
    assert float(toy_runs.flat(gradients).norm()) == 0.0 and trained.run.rows[0]["train/loss"] == 0.0


def moved(student, weights_before: torch.Tensor) -> float:
    """Share of the layers' matrix entries that one step changed."""
    return float((matrices(student) != weights_before).float().mean())


def matrices(student) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for name, p in student.named_parameters() if "layers" in name and p.ndim == 2])


def test_pure_bf16_stands_still(tmp_path):
    """Fact 25: weights of sd 0.02 in bf16, learning rate 1e-5: a full-size Adam step changes a few of them only."""
    optimizer = {"learning_rate": 1e-5, "lr_scheduler_type": "constant", "adam_epsilon": 1e-12}
    student = toys.model(VOCAB, scale=0.02, dtype=torch.bfloat16)
    before = matrices(student).clone()
    stock_run(tmp_path, student=student, of=toys.model(VOCAB, seed=1, dtype=torch.bfloat16), **optimizer)
    share = moved(student, before)
    still(share < 0.3, 25, f"{share:.0%} of the weights moved")

    student = toys.model(VOCAB, scale=0.02)
    before = matrices(student).clone()
    of = Teacher(toys.model(VOCAB, seed=1, dtype=torch.bfloat16), TOKENIZER)
    our_run(tmp_path, student=student, of=of, compute_dtype=torch.bfloat16, training={"bf16": True, **optimizer})
    assert moved(student, before) > 0.95


# ---- loading and logging ---------------------------------------------------------------------------------------------


def test_teacher_arguments_need_a_dtype(tmp_path):
    """Fact 19: teacher_model_init_kwargs without a dtype dies with a KeyError."""
    rows = stock.conversations(toys.prompts(8))
    try:
        stock.build(toys.model(VOCAB), "somewhere", TOKENIZER, rows, tmp_path, teacher_model_init_kwargs={"revision": "x"})
        still(False, 19, "teacher_model_init_kwargs without dtype works")
    except KeyError as error:
        still(error.args == ("dtype",), 19, f"the missing key became {error}")


def test_the_teacher_keeps_its_gradients(tmp_path):
    """Fact 19: nothing freezes the teacher; ours is frozen (tests/engine/test_teacher.py)."""
    of = toys.model(VOCAB, seed=1)
    stock_run(tmp_path, of=of)
    still(all(p.requires_grad for p in of.parameters()), 19, "the teacher's parameters need no gradient")
    assert not any(p.requires_grad for p in our_run(tmp_path)[0].teacher_model.parameters())


def test_a_table_of_completions_kills_the_run(tmp_path, monkeypatch):
    """Fact 18: more completions to print than different prompts: pandas cannot sample them, and the run dies."""
    import wandb

    monkeypatch.setenv("WANDB_MODE", "disabled")
    arguments = {
        "lmbda": 1.0,
        "log_completions": True,
        "log_completions_steps": 1,
        "num_completions_to_print": 50,
        "max_completion_length": 4,
        "report_to": ["wandb"],
        "wandb_log_unique_prompts": True,
    }
    try:
        stock_run(tmp_path, asked=[toys.prompts(1)[0]] * 8, **arguments)
        still(False, 18, "the run survives")
    except ValueError as error:
        still("sample" in str(error), 18, f"the message became {error}")
    finally:
        wandb.finish()
    training = {**arguments, "disable_tqdm": True}
    trained, _ = our_run(tmp_path, lmbda=training.pop("lmbda"), asked=[toys.prompts(1)[0]] * 8, training=training)
    wandb.finish()
    assert len(trained.run.rows) == 1
