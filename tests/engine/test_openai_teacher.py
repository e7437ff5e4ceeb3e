"""The teacher behind an OpenAI-compatible server: the numbers of a local one, its texts, and what happens when it goes away."""

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GraniteConfig, GraniteForCausalLM

from gold_style.chat import TeacherIds
from gold_style.distil.objective import TokenExact
from gold_style.engine.models import shell
from gold_style.engine.openai_teacher import OpenAITeacher
from gold_style.engine.rollout import Sampling
from gold_style.engine.teacher import Scored, Teacher, TeacherGone
from gold_style.losses.topk_tail import TopkTail
from gold_style.runs.completions import Completions
from gold_style.runs.files import read_json_lines
from tests.helpers import toy_runs, toys
from tests.helpers.commands import PROJECT, SMALL, python
from tests.helpers.completions_server import CompletionsServer

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
TEACHER = toys.model(VOCAB, seed=1)
ROWS = [Scored(TeacherIds((7, 8, 9, 10), (11, 12)), (13, 14, 15)), Scored(TeacherIds((), (5,)), ()), Scored(TeacherIds((7,), (3,)), (4,))]
GREEDY, DRAWN = Sampling(temperature=0.0), Sampling()
KEY = "key-that-nobody-may-see"


def served_teacher(server: CompletionsServer, tail_k: int = 6, known: int = VOCAB, **backend) -> OpenAITeacher:
    settings = server.backend(**backend)
    served = Completions(settings, "teacher", settings.limit_s)
    return OpenAITeacher(server.tokenizer, server.model, served, tail_k, known, torch.device("cpu"))


@pytest.fixture(scope="module")
def server():
    with CompletionsServer(TEACHER, TOKENIZER) as found:
        yield found


def test_it_tells_what_a_local_teacher_computes(server):
    local, told = Teacher(TEACHER, TOKENIZER), served_teacher(server)
    for row, states_ND, told_N2K in zip(ROWS, local.hidden(ROWS), told.hidden(ROWS), strict=True):
        best_NK, ids_NK = local.head.logits(states_ND).log_softmax(-1).topk(6)
        assert told_N2K.shape == (len(row.completion), 2, 6) and torch.equal(told_N2K[:, 0].long(), ids_NK)
        torch.testing.assert_close(told_N2K[:, 1], best_NK)
    for one, other in zip(local.chosen(ROWS), told.chosen(ROWS), strict=True):
        for own, others in zip(one, other, strict=True):
            torch.testing.assert_close(own, others, check_dtype=False)
    assert [len(found) for found in told.logprobs(ROWS)] == [3, 0, 1]


def test_what_the_student_cannot_write_is_part_of_the_tail(server):
    told = torch.cat(served_teacher(server, known=100).hidden(ROWS))
    assert told[:, 0].max() < 100 and told.shape[2] <= 6


def test_it_writes_greedily_as_a_local_one_and_draws_by_seed(server):
    local, told = Teacher(TEACHER, TOKENIZER), served_teacher(server)
    prompts = [row.prompt for row in ROWS]
    assert told.generate(prompts, max_new_tokens=5, sampling=GREEDY) == local.generate(prompts, max_new_tokens=5, sampling=GREEDY)
    how = {"max_new_tokens": 5, "sampling": DRAWN, "uniforms_BG": torch.rand(3, 5, generator=torch.Generator().manual_seed(0))}
    assert told.generate(prompts, **how) == told.generate(prompts, **how)
    assert told.generate(prompts, **how) != told.generate(prompts, **how | {"uniforms_BG": how["uniforms_BG"] / 2})


def step(teacher, student, directory: Path):
    """Gradient and logged row of a step with topk_tail."""
    loss = TopkTail(beta=0.3, tail_k=6)
    objective = TokenExact(teacher=teacher, vocab_size=VOCAB, token_loss=loss)
    maker = toy_runs.row_maker(TOKENIZER, teacher, toys.prompts(8), student=student, objective=objective, max_completion_length=60)
    gradient, _, trained = toy_runs.one_step(student, maker, directory)
    return gradient, trained.run.rows[0]


def capped_student():
    """Its head divides logits, which the fused loss leaves to the readable one."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    return GraniteForCausalLM(GraniteConfig(vocab_size=VOCAB, **sizes, logits_scaling=4.0, initializer_range=0.3))


@pytest.mark.parametrize("student", [lambda: toys.model(VOCAB), capped_student], ids=["fused", "readable"])
def test_loss_and_gradient_are_those_of_a_local_teacher(server, student, tmp_path):
    (one, here), (other, there) = step(Teacher(TEACHER, TOKENIZER), student(), tmp_path), step(served_teacher(server), student(), tmp_path)
    assert toy_runs.distance(other, one) < 1e-5 and there["train/loss"] == pytest.approx(here["train/loss"], rel=1e-5)
    assert there["train/student_entropy"] == pytest.approx(here["train/student_entropy"], rel=1e-5)
    unknown = {name for name in here if re.search("teacher_entropy|forward_kl|reverse_kl|top1|measured_tokens", name)}
    assert unknown and unknown.isdisjoint(there) and here.keys() - unknown == there.keys()


def test_gone_in_training_it_leaves_a_checkpoint(tmp_path):
    class Leaves(toy_runs.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            server.trouble = "503" if state.global_step == 2 else None

    with CompletionsServer(TEACHER, TOKENIZER) as server:
        teacher = served_teacher(server, limit_s=1.0)
        objective = TokenExact(teacher=teacher, vocab_size=VOCAB, token_loss=TopkTail(beta=0.3, tail_k=6))
        with pytest.raises(TeacherGone, match="no answer for teacher_backend.limit_s=1 seconds"):
            toy_runs.train(TOKENIZER, teacher, tmp_path, objective=objective, callbacks=[Leaves()])
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]


def test_it_stops_where_the_teachers_files_say(tmp_path, server):
    built = toys.model(VOCAB)
    built.generation_config.eos_token_id = [VOCAB - 1, 5]
    path = toys.saved(TOKENIZER, built, tmp_path)
    served = Completions(server.backend(), "teacher")
    teacher = OpenAITeacher(TOKENIZER, shell(path, None, False), served, 6, VOCAB, torch.device("cpu"))
    local = Teacher(AutoModelForCausalLM.from_pretrained(path), TOKENIZER)
    assert teacher.output_ids == local.output_ids and 5 in teacher.output_ids.stop_ids


# ---- as a user types it --------------------------------------------------------------------------------------------------

TINY = PROJECT / "gold_style/pairs/tiny/teacher"


@pytest.fixture(scope="module")
def tiny():
    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    with CompletionsServer(model, AutoTokenizer.from_pretrained(TINY), max_logprobs=20, max_model_len=10_000) as found:
        yield found


def asked(server: CompletionsServer, *others: str) -> tuple[str, ...]:
    address = f"teacher_backend.address={server.url}"
    return (*SMALL, "tracker=none", "teacher_backend=openai", address, "loss=topk_tail", "loss.tail_k=20", "output_dir=run", *others)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        (["loss.tail_k=64"], "tells at most 20 log-probabilities a token; add loss.tail_k=20"),
        (["teacher_backend.address=http://127.0.0.1:9/v1"], "teacher_backend.address=http://127.0.0.1:9/v1: cannot be reached"),
        ([f"model.teacher={TINY.parents[1]}/tiny_cross_tokenizer/teacher"], "which has another tokenizer; name the model that is served"),
        (["teacher_backend.model=techer"], "serves teacher; give one of these names; did you mean teacher?"),
    ],
)
@pytest.mark.slow
def test_a_mistake_is_found_before_anything_is_loaded(others, reason, tiny, tmp_path):
    done = python("train.py", *(text for text in asked(tiny) if text.split("=")[0] != others[0].split("=")[0]), *others, cwd=tmp_path)
    assert done.code == 2 and reason in done.stderr and "Traceback" not in done.stderr and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_whole_run_with_a_served_teacher_without_its_weights_here_and_no_trace_of_the_key(tiny, tmp_path):
    shutil.copytree(TINY, tmp_path / "teacher", ignore=shutil.ignore_patterns("*.safetensors"))
    tiny.keys.clear()  # of the tests before
    typed = asked(tiny, "loss.warm_start_steps=1", "model.teacher=teacher")
    done = python("train.py", *typed, cwd=tmp_path, GOLD_STYLE_TEACHER_API_KEY=KEY, http_proxy="http://127.0.0.1:9")
    assert done.code == 0, done.stderr[-3000:]
    assert "gets token ids: the chat template is that of model.teacher" in done.stderr
    rows = list(read_json_lines(done.run / "metrics.jsonl"))
    assert rows and all("train/teacher_entropy" not in row for row in rows) and "train/student_entropy" in rows[0]
    assert [*read_json_lines(done.run / "readings.jsonl")] and set(tiny.keys) == {f"Bearer {KEY}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert KEY not in done.stdout + done.stderr and not [path for path in files if KEY.encode() in path.read_bytes()]
    assert yaml.safe_load((done.run / "config.yaml").read_text())["teacher_backend"]["address"] == tiny.url
