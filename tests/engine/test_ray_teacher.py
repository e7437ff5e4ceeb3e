"""The teacher behind Ray, in a cluster that starts and ends by itself: `make test-ray`. Bits, shared use, and everything that dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import psutil
import pytest
import torch
from peft import LoraConfig
from transformers import GraniteConfig, GraniteForCausalLM, TrainerCallback

from gold_style.chat import TeacherIds
from gold_style.engine.ray_teacher import RayTeacher
from gold_style.engine.teacher import Scored, Teacher, TeacherGone
from gold_style.runs.ray_cluster import own_directory
from gold_style.runs.repetition import first_difference
from tests.helpers import ray_teachers, toy_runs, toys
from tests.helpers.commands import SMALL, environment, finish, python, start
from tests.helpers.ray_teachers import actor_of, cluster, process_of, ray_teacher

pytestmark = pytest.mark.ray

TOKENIZER = toys.byte_tokenizer()
STUDENT = toys.byte_tokenizer((("h", "e"), ("l", "l")))
OTHER = toys.llama3_tokenizer((("e", "l"), ("Ġ", "w")))
ROWS = [Scored(TeacherIds((7, 8, 9, 10), (11, 12)), (13, 14, 15)), Scored(TeacherIds((), (5,)), ()), Scored(TeacherIds((7,), (3,)), (4,))]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return toys.saved(TOKENIZER, toys.model(len(TOKENIZER), seed=1), tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    return toys.saved(OTHER, toys.model(len(OTHER) + 1, seed=1), tmp_path_factory.mktemp("other"))  # loaded again, it has a token more


@cache
def shared(model: str) -> RayTeacher:
    return ray_teacher(model)


def local(model: str) -> Teacher:
    return ray_teachers.load_shared(*ray_teachers.settings_of(model), False)


CASES = {
    "half on-policy": {},
    "the teacher writes the rest": {"seq_kd": True},
    "warm start": {"warm_start_steps": 2},
    "lora": {"peft_config": LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")},
}


def trained(teacher, directory: Path, tokenizer=TOKENIZER, **changes) -> torch.Tensor:
    torch.manual_seed(0)
    return toy_runs.weights(toy_runs.train(tokenizer, teacher, directory, **changes).model)


@pytest.mark.parametrize("case", CASES)
def test_a_run_ends_with_the_bits_of_a_local_teacher(case, model, tmp_path):
    first, second = (trained(teacher, tmp_path, **CASES[case]) for teacher in (local(model), shared(model)))
    assert torch.equal(first, second) and not torch.equal(first, toy_runs.weights(toys.model(len(TOKENIZER))))


@pytest.mark.parametrize("kind", ["uld", "uld_hybrid", "tree"])
def test_so_it_does_with_two_tokenizers(kind, other, tmp_path):
    asked = [replace(prompt, reference="hello world") for prompt in toys.prompts(8)]
    first, second = (
        trained(teacher, tmp_path, STUDENT, asked=asked, objective=toy_runs.cross_objective(STUDENT, teacher, kind), seq_kd=True)
        for teacher in (local(other), shared(other))
    )
    assert torch.equal(first, second)


def test_a_head_that_scales_its_logits_comes_along(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    granite = GraniteForCausalLM(GraniteConfig(vocab_size=len(TOKENIZER), **sizes, logits_scaling=4.0, initializer_range=0.3))
    path = toys.saved(TOKENIZER, granite, tmp_path)
    here, there = local(path), ray_teacher(path)
    assert not here.head.is_plain and not there.head.is_plain and there.logprobs(ROWS) == here.logprobs(ROWS)
    assert there.check([1, 2, 3]) == here.check([1, 2, 3]) and there.output_ids == here.output_ids
    assert there.is_untrained(5) == here.is_untrained(5)


class At(TrainerCallback):
    """Does something before a step."""

    def __init__(self, step: int, act):
        self.step, self.act = step, act

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.act()


def test_killed_it_is_started_again_and_the_step_repeated(model, tmp_path):
    teacher = shared(model)
    first, killed = trained(teacher, tmp_path, seq_kd=True), process_of(teacher)
    kill = At(2, partial(os.kill, killed, signal.SIGKILL))
    assert torch.equal(trained(teacher, tmp_path, seq_kd=True, callbacks=[kill]), first)
    assert process_of(teacher) != killed


def test_where_it_stays_away_the_run_saves_and_ends_and_goes_on_elsewhere(model, tmp_path):
    whole = trained(local(model), tmp_path / "whole")
    teacher = ray_teacher(model)
    stopped, teacher.limit_s = process_of(teacher), 4.0
    with pytest.raises(TeacherGone, match=r"no sign of life for teacher_backend.limit_s=4 seconds"):
        trained(teacher, tmp_path, callbacks=[At(2, partial(os.kill, stopped, signal.SIGSTOP))])
    os.kill(stopped, signal.SIGKILL)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    maker = toy_runs.row_maker(TOKENIZER, local(model), toys.prompts(8), lmbda=0.5, rows_per_window=4)
    resumed = toy_runs.trainer(toys.model(len(TOKENIZER)), maker, tmp_path, max_steps=4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert torch.equal(toy_runs.weights(resumed.model), whole)


def test_other_weights_under_the_same_name_are_another_teacher(tmp_path):
    path = toys.saved(TOKENIZER, toys.model(len(TOKENIZER), seed=1), tmp_path)
    first = ray_teacher(path)
    toys.saved(TOKENIZER, toys.model(len(TOKENIZER), seed=2), tmp_path)
    second = ray_teacher(path)
    assert process_of(first) != process_of(second) and not torch.equal(first.hidden(ROWS)[0], second.hidden(ROWS)[0])
    with pytest.raises(ValueError, match=rf"{path} .*is another one than here: weights \['other'\] there, \['[0-9a-f]{{64}}'\] here"):
        ray_teacher(path, identify=partial(_elsewhere, own=os.getpid()))


def _elsewhere(model, cache_bytes: int, own: int) -> dict:
    return ray_teachers.identify_otherwise(model, cache_bytes, own) | {"revision": "elsewhere"}


def test_what_the_teacher_raises_is_raised_here(tmp_path):
    path = toys.saved(TOKENIZER, toys.model(len(TOKENIZER)), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=path):
        ray_teacher(path)


def test_twelve_runs_at_once_get_the_bits_of_one_and_load_it_once(tmp_path):
    path = toys.saved(TOKENIZER, toys.model(len(TOKENIZER), seed=3), tmp_path)
    expected = torch.cat(local(path).hidden(ROWS)).repeat(3, 1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.ray_teachers"])
    report = context.Queue()
    runs = [context.Process(target=ray_teachers.states, args=(path, ROWS, report), daemon=True) for _ in range(12)]
    for run in runs:
        run.start()
    found = [torch.from_numpy(report.get(timeout=300)) for _ in runs]
    for run in runs:
        run.join()
    assert all(torch.equal(states, expected) for states in found)
    assert len((tmp_path / "loads").read_text().splitlines()) == 1


def test_it_listens_on_the_loopback_device_only(model):
    process_of(shared(model))
    family = {process.pid for process in cluster()}
    found = [at for at in psutil.net_connections() if at.pid in family and at.status == psutil.CONN_LISTEN]
    assert found and {at.laddr.ip.removeprefix("::ffff:") for at in found} <= {"127.0.0.1", "::1"}


def test_a_cluster_is_joined_by_its_address(model):
    there, address = process_of(shared(model)), (own_directory() / "address").read_text()
    given = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}  # the token, as the user of a cluster has it
    command = [sys.executable, "-m", "tests.helpers.ray_teachers", model, "0", address]
    assert int(subprocess.run(command, capture_output=True, text=True, env=environment(**given), check=True).stdout) == there


@pytest.fixture
def home():
    """The directory of a cluster of its own: the usual one is in use by the other tests. Short, because a socket's path has to be."""
    with tempfile.TemporaryDirectory(prefix="gs-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, None])
def test_nothing_is_left_of_a_cluster_whose_last_run_has_ended(end, model, home):
    command = [sys.executable, "-m", "tests.helpers.ray_teachers", model, "1" if end is None else "600"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(GOLD_STYLE_RAY=str(home)), start_new_session=True)
    actor = int(run.stdout.readline())
    left = cluster(home)
    assert actor in {process.pid for process in left}
    if end is not None:
        os.killpg(run.pid, end)  # as a terminal does it: Ray's processes must not get it
    run.wait(timeout=60)
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive and not [
        path.name for path in home.iterdir() if path.name not in ("starting", "users", "keeper", "address", "token", "log")
    ]


@pytest.mark.slow
def test_four_jobs_of_a_sweep_are_the_runs_that_they_are_without_ray(tmp_path):
    asked = (*SMALL, "tracker=none", "seed=0,1", "loss.beta=0,0.5", "cache.dir=null")
    there = python("train.py", "-m", *asked, "teacher_backend=ray", "output_dir=there", cwd=tmp_path)
    here = python("train.py", "-m", *asked, "output_dir=here", cwd=tmp_path)
    assert there.code == here.code == 0, there.stderr[-3000:]
    for number in range(4):
        assert first_difference(tmp_path / "here" / str(number), tmp_path / "there" / str(number)) is None


@pytest.mark.slow
def test_the_teachers_of_two_tags_are_two_actors_with_the_bits_of_local_ones(tmp_path):
    pairs = "gold_style/pairs"
    teachers = f"model.teachers={{chosun: {pairs}/tiny/teacher, none: {pairs}/tiny_cross_tokenizer/teacher}}"
    asked = (
        *SMALL,
        "model=tiny_cross_tokenizer",
        "model.teacher=null",
        teachers,
        "loss.lmbda=0.5",
        "loss.seq_kd=true",
        "hardware.threads=1",
    )
    here, there = (
        python("train.py", *asked, *more, cwd=tmp_path) for more in (("output_dir=here",), ("output_dir=there", "teacher_backend=ray"))
    )
    assert here.code == there.code == 0, there.stderr[-3000:]
    assert first_difference(here.run, there.run) is None


@pytest.mark.slow
def test_a_run_that_loses_its_teacher_ends_in_a_sentence(tmp_path, home):
    asked = (*SMALL, "tracker=none", "teacher_backend=ray", "teacher_backend.limit_s=20", "output_dir=run")
    run = start("train.py", *asked, cwd=tmp_path, GOLD_STYLE_RAY=str(home))
    os.kill(actor_of(home), signal.SIGSTOP)
    left = cluster(home)
    done = finish(run)
    assert done.code == 2 and "no sign of life for teacher_backend.limit_s=20 seconds" in done.stderr
    assert "Traceback" not in done.stderr and ".cc:" not in done.stderr  # nor lines of Ray's own
    assert not psutil.wait_procs(left, timeout=30)[1]
