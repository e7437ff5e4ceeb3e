"""`hardware.tokens_per_microbatch=auto`: measured once, recorded, kept; the gradients are those of any other size."""

from types import SimpleNamespace

import pytest
import torch

from gold_style.config.settings import Settings
from gold_style.distil.microbatch_size import fitting, measured
from gold_style.engine.teacher import Teacher
from gold_style.job.build import build_options
from gold_style.runs.run import open_run
from tests.helpers import toy_runs, toys

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)


class Memory:
    """A card with so much free memory, on which a micro-batch takes 1,000 bytes and 10 a padded token."""

    def __init__(self, free: float, most_rows: int = 99):
        self.left, self.most_rows, self.peaks = free, most_rows, []

    def free(self) -> float:
        return self.left

    def peak(self, work) -> float:
        self.peaks.append(work())
        return self.peaks[-1]


def taking(memory: Memory):
    def work(rows):
        if len(rows) > memory.most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1000 + 10 * len(rows) * max(len(row.student_prompt) + len(row.completion) for row in rows)

    return work


def rows(*lengths: int):
    return [SimpleNamespace(student_prompt=(0,) * 10, completion=(0,) * (length - 10)) for length in lengths]


def test_what_fits_is_what_is_free_without_the_fixed_part_and_a_reserve():
    assert fitting(free=100_000, fixed=1000, per_token=10, longest=50) == 8900
    assert fitting(free=100, fixed=1000, per_token=10, longest=50) == 50  # a row is read whole, or memory runs out


@pytest.mark.parametrize(("to_come", "expected"), [(0, 8900), (50_000, 4400), (1e9, 60)])
def test_size_is_read_from_two_peaks(to_come, expected):
    assert measured(taking(memory := Memory(100_000)), rows(40, 60, 20), memory, to_come) == expected


def test_where_two_rows_do_not_fit_one_is_taken_at_a_time():
    memory = Memory(1e9, most_rows=1)
    assert measured(taking(memory), rows(40, 60), memory, 0) == 60


class Free:
    """The CPU as a card: peaks counted in rows of the forward pass."""

    def __init__(self, free: float):
        self.left, self.asked = free, 0

    def free(self) -> float:
        return self.left

    def peak(self, work) -> float:
        work()
        self.asked += 1
        return 1000.0 * self.asked  # one row, then two


def step(directory, free: float, *, earlier: int | None = None, num_steps: int = 1):
    teacher = Teacher(toys.model(VOCAB, seed=1), TOKENIZER)
    maker = toy_runs.row_maker(TOKENIZER, teacher, toys.prompts(8), tokens_per_microbatch="auto", rows_per_microbatch=1)
    recorder = toy_runs.GradientRecorder()
    trainer = toy_runs.trainer(toys.model(VOCAB), maker, directory, callbacks=[recorder], max_steps=num_steps)
    trainer.memory = Free(free)
    if earlier:
        maker.decisions.tokens_per_microbatch = earlier
    sizes, plain = [], trainer._micro_batches
    trainer._micro_batches = lambda *given: sizes.append(len(found := plain(*given))) or found
    trainer.train()
    return toy_runs.flat(recorder.steps[0]), trainer, sizes


def test_the_size_is_decided_once_and_changes_no_gradient(tmp_path):
    small, tight, many = step(tmp_path, 0.0)
    large, roomy, one = step(tmp_path, 1e9, num_steps=2)
    assert many == [8] and one == [1, 1] and roomy.memory.asked == 2
    assert toy_runs.distance(small, large) < 1e-6
    assert roomy.run.state["tokens_per_microbatch"] == roomy.decisions.tokens_per_microbatch > tight.decisions.tokens_per_microbatch
    _, kept, of_earlier = step(tmp_path, 1e9, earlier=1)
    assert kept.memory.asked == 0 and of_earlier == [8]


def test_on_a_cpu_auto_is_rows(tmp_path):
    teacher = Teacher(toys.model(VOCAB, seed=1), TOKENIZER)
    options = [build_options(Settings.compose(f"hardware.tokens_per_microbatch={size}")) for size in ("auto", "null", "300")]
    assert [one.tokens_per_microbatch for one in options] == ["auto", None, 300]
    changes = {"rows_per_microbatch": 2, "max_completion_length": 8}
    makers = [toy_runs.row_maker(TOKENIZER, teacher, toys.prompts(8), tokens_per_microbatch=size, **changes) for size in ("auto", None)]
    first, second = (toy_runs.one_step(toys.model(VOCAB), maker, tmp_path) for maker in makers)
    assert torch.equal(first[0], second[0]) and first[2].run.state == {}


def test_resume_and_reproduce_take_the_recorded_size(tmp_path):
    settings = Settings.compose("tracker=none", f"output_dir={tmp_path}/first")
    with pytest.raises(KeyboardInterrupt), open_run(settings) as run:
        assert run.tokens_per_microbatch is None
        run.update(tokens_per_microbatch=777)
        raise KeyboardInterrupt
    for change in ({"resume": f"{tmp_path}/first"}, {"reproduce": f"{tmp_path}/first", "output_dir": f"{tmp_path}/second"}):
        again = Settings.compose("tracker=none", *(f"{key}={value}" for key, value in change.items() if key == "output_dir"))
        again.resume, again.reproduce = change.get("resume"), change.get("reproduce")
        with pytest.raises(KeyboardInterrupt), open_run(again) as run:
            assert run.tokens_per_microbatch == run.state["tokens_per_microbatch"] == 777
            raise KeyboardInterrupt
