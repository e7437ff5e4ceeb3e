"""The wheel, in an environment that has nothing of the checkout, from an empty folder: `make test-wheel`."""

import json
import os
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.helpers.commands import PROJECT, SMALL, Done, environment

pytestmark = pytest.mark.wheel
TINY = (*SMALL, "train.max_steps=2", "train.max_completion_length=12", "evaluation.every_steps=null", "tracker=none")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Built from the files that git tracks: what is not committed is not in it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((PROJECT / name).read_bytes())
    pip("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(built), str(source))
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin/ of an environment with this wheel; torch and the others are looked up in the environment that runs the tests."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    pip("--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    packages = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True).strip()
    Path(packages, "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # behind the wheel; .pth files in there are not read
    return place / "bin"


def pip(*arguments: str) -> None:
    """Without PYTHONPATH: a checkout on it that is installed as editable would count as this package."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, cwd="/", env=outside)


def tracked() -> list[str]:
    names = subprocess.check_output(["git", "-C", str(PROJECT), "ls-files", "-z"], text=True).split("\0")
    return [name for name in names if (PROJECT / name).is_file()]


def run(installed: Path, *command: str, cwd: Path) -> Done:
    """A command of the environment; nothing leads to the checkout."""
    outside = {name: value for name, value in environment(PATH=f"{installed}:{os.environ['PATH']}").items() if name != "PYTHONPATH"}
    done = subprocess.run([str(installed / command[0]), *command[1:]], cwd=cwd, env=outside, capture_output=True, text=True, timeout=600)
    assert str(PROJECT) not in (done.stdout + done.stderr).replace(sysconfig.get_path("purelib"), "")  # .venv/ may be in the checkout
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def trained(installed, tmp_path_factory) -> Done:
    done = run(installed, "gold-style", "train", *TINY, cwd=tmp_path_factory.mktemp("empty"))
    assert done.code == 0, done.stderr[-3000:]
    return done


def weights(run: Path) -> bytes:
    return (run / "student" / "model.safetensors").read_bytes()


def status(run: Path) -> str:
    return json.loads((run / "run.json").read_text())["status"]


def test_everything_that_is_tracked_is_in_it(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    package = {name for name in tracked() if name.startswith(("gold_style/", "hydra_plugins/"))}
    project = {
        f"gold_style/project/{name}" for name in tracked() if name.startswith(("conf/", "data/")) or name in ("train.py", "evaluate.py")
    }
    assert package | project <= inside and "gold_style/py.typed" in inside
    assert not any(name.startswith(("tests/", "conf/", "data/", "benchmarks/", "setup")) for name in inside)


def test_a_run_and_its_pages(installed, trained):
    assert status(trained.run) == "completed" and trained.run.parents[3] / "multirun" in trained.run.parents
    for command in ("report", "compare"):
        done = run(installed, "gold-style", command, str(trained.run), cwd=trained.run.parents[3])
        assert done.code == 0, done.stderr[-3000:]


def test_a_style_of_ones_own_without_a_checkout(installed, tmp_path):
    begun = run(installed, "gold-style", "new", "style", "mine", "--from", "joseon", cwd=tmp_path)
    assert begun.code == 0 and (tmp_path / "conf/styles/mine.yaml").is_file(), begun.stderr[-3000:]
    done = run(installed, "gold-style", "train", "styles=mine", "dry_run=true", *TINY, cwd=tmp_path)
    assert done.code == 0 and "still as in styles=joseon" in done.stdout, done.stderr[-3000:]
    short = run(installed, "gold-style", "train", "-m", "styles=mine,joseon", *TINY, "output_dir=sweep", cwd=tmp_path)
    assert short.code == 0 and [status(tmp_path / "sweep" / name) for name in "01"] == ["completed"] * 2, short.stderr[-3000:]


def test_a_run_is_repeated_bit_for_bit(installed, trained, tmp_path):
    done = run(installed, "gold-style", "train", f"reproduce={trained.run}", cwd=tmp_path)
    assert done.code == 0 and "the same bits as" in done.stderr, done.stderr[-3000:]
    assert weights(done.run) == weights(trained.run)


def test_a_failed_run_goes_on_with_the_command_that_it_names(installed, tmp_path):
    """It was told to end after its checkpoint; the line to go on with is pasted as it was printed."""
    short = (*TINY, "train.max_steps=4", "train.save_steps=2", "output_dir=cut")
    kill = "import os, signal; from gold_style.distil.callbacks import StopOnSignal as Stop; step = Stop.on_step_end\n"
    kill += "def end(self, args, state, *given, **named):\n    state.global_step == 2 and os.kill(os.getpid(), signal.SIGTERM)\n"
    kill += "    return step(self, args, state, *given, **named)\nStop.on_step_end = end\n"
    kill += "import sys; from gold_style.cli import main; sys.argv[1:] = ['train', *sys.argv[1:]]; main()"
    cut = run(installed, "python", "-c", kill, *short, cwd=tmp_path)
    assert cut.code == 143 and status(tmp_path / "cut") == "interrupted", cut.stderr[-3000:]
    resume = shlex.split(json.loads((tmp_path / "cut" / "run.json").read_text())["resume_command"])
    assert resume[:3] == ["python", "-m", "gold_style.train"]
    done = run(installed, *resume, cwd=tmp_path)
    assert done.code == 0 and status(done.run) == "completed", done.stderr[-3000:]


@pytest.mark.parametrize("extra", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), ("sweep.search.trials=2",)])
def test_a_sweep(installed, tmp_path, extra):
    varied = "loss.beta=interval(0,1)" if "sweep.search.trials=2" in extra else "loss.beta=0,1"
    done = run(installed, "gold-style", "train", "-m", *TINY, varied, *extra, "output_dir=sweep", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    assert {status(tmp_path / "sweep" / name) for name in "01"} == {"completed"}


def test_two_processes_of_accelerate(installed, tmp_path):
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no", "-m")
    done = run(installed, "python", *launcher, "gold_style.train", *TINY, "hardware=cpu", cwd=tmp_path)
    assert done.code == 0, done.stderr[-3000:]
    assert json.loads((done.run / "run.json").read_text())["num_processes"] == 2


@pytest.mark.parametrize("prompts", [(), ("prompts=jsonl", "prompts.path=data/evaluation_prompts.jsonl", "prompts.eval_samples=2")])
def test_a_run_is_evaluated(installed, trained, tmp_path, prompts):
    done = run(installed, "python", "-m", "gold_style.evaluate", f"target={trained.run}", *prompts, cwd=tmp_path)
    assert done.code == 0 and (done.run / "report.html").is_file(), done.stderr[-3000:]


def test_data_that_came_along_is_trained_on(installed, tmp_path):
    done = run(installed, "gold-style", "train", *TINY, "prompts=jsonl", "dry_run=true", cwd=tmp_path)
    assert done.code == 0 and "jsonl, " in done.stdout, done.stderr[-3000:]


@pytest.mark.parametrize(
    "arguments", [("train", "loss.bta=1"), ("evaluate", "target=nowhere/at/all"), ("judge",), ("annotate", "nowhere"), ("tain",)]
)
def test_mistakes_are_refused_with_exit_code_2(installed, tmp_path, arguments):
    done = run(installed, "gold-style", *arguments, cwd=tmp_path)
    assert done.code == 2 and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
