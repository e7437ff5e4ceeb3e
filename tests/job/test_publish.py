"""`python -m gold_style.publish` against a hub on loopback, as a user types it: what is sent, and when nothing is."""

import re

import pytest
from huggingface_hub import ModelCard, constants

from gold_style.job import handover
from gold_style.runs.terminal import exit_code
from tests.helpers.commands import Done, door
from tests.helpers.finished_runs import TINY, finished_run
from tests.helpers.hub_uploads import READER, TOKEN, HubUploads, Repository


@pytest.fixture
def publish(monkeypatch, tmp_path, capsys):
    """The command in this process, which imports the libraries once, with the exit code and the output that it has as a command."""

    def asked(hub: HubUploads, *arguments: str, token: str | None = TOKEN) -> Done:
        chosen = {"ENDPOINT": hub.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True, "HF_TOKEN_PATH": str(tmp_path / "no_login")}
        for name, value in chosen.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        capsys.readouterr()
        code = exit_code(lambda: handover.publish(list(arguments)))
        return Done(code, *capsys.readouterr())

    return asked


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("published") / "run", "model=qwen3b_to_1p5b")


def test_it_sends_the_files_of_the_student_and_a_card_with_its_name(publish, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with HubUploads() as hub:
        done = publish(hub, str(run), "me/joseon-toggle", "--private")
        assert done.code == 0, done.stderr
        assert done.stdout.endswith(f"published: {hub.url}/me/joseon-toggle\n")
    repository = hub.repositories["me/joseon-toggle"]
    assert repository.private and repository.files.keys() == {path.name for path in TINY.iterdir()}
    assert {name: data for name, data in repository.files.items() if name != "README.md"} == {
        path.name: path.read_bytes() for path in (run / "student").iterdir() if path.name != "README.md"
    }
    card = repository.files["README.md"].decode()
    assert "\n# me/joseon-toggle\n" in card and 'name = "me/joseon-toggle"\n' in card
    assert ModelCard(card).data.base_model == "Qwen/Qwen2.5-1.5B-Instruct"
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert TOKEN not in done.stdout + done.stderr


def test_a_dry_run_says_what_would_be_sent_and_asks_nobody(publish, run):
    with HubUploads() as hub:
        done = publish(hub, str(run), "me/joseon-toggle", "--dry-run", token=None)
    assert done.code == 0 and hub.requests == [] and hub.repositories == {}
    for path in TINY.iterdir():
        size = (
            path.stat().st_size
            if path.name != "README.md"
            else len(done.stdout.partition("README.md:\n\n")[2].rpartition("\n\n")[0].encode())
        )
        if path.name != "README.md":
            assert re.search(rf"{re.escape(path.name)} +{size:,} bytes", done.stdout), path.name
    assert "(public)" in done.stdout and "# me/joseon-toggle" in done.stdout and "## 한국어" in done.stdout
    assert done.stdout.endswith("nothing was sent; the same command without --dry-run sends it\n")


@pytest.mark.parametrize(
    "name, said",
    [
        ("toggle", "did you mean ORG/toggle?"),
        ("a/b/c", "did you mean ORG/c?"),
        ("me/my toggle", "did you mean me/my-toggle?"),
        ("me/-x", "'me/-x'"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_read(publish, name, said):
    with HubUploads() as hub:
        done = publish(hub, "nowhere", name)
    assert done.code == 2 and said in done.stderr and len(done.stderr.splitlines()) <= 2 and hub.requests == []


def test_without_a_login_nothing_is_asked(publish, run):
    with HubUploads() as hub:
        done = publish(hub, str(run), "me/toggle", token=None)
    assert done.code == 2 and "hf auth login" in done.stderr and "HF_TOKEN" in done.stderr and hub.requests == []


@pytest.mark.parametrize("token, said", [("hf_" + "x" * 30, "does not know this login"), (READER, "needs write access")])
def test_a_login_that_may_not_is_said_without_its_secret(publish, run, token, said):
    with HubUploads() as hub:
        done = publish(hub, str(run), "me/toggle", token=token)
    assert done.code == 2 and f"{hub.url}/me/toggle: " in done.stderr and said in done.stderr
    assert token not in done.stdout + done.stderr and "Traceback" not in done.stderr and hub.repositories == {}


@pytest.mark.parametrize("there, private, code", [({"config.json": b"{}"}, False, 2), ({}, False, 0), ({}, True, 2)])
def test_a_repository_that_is_there_is_filled_only_if_it_is_empty_and_as_private_as_asked(publish, run, there, private, code):
    with HubUploads() as hub:
        hub.repositories["me/toggle"] = Repository(files=dict(there))
        done = publish(hub, str(run), "me/toggle", *["--private"] * private)
    assert done.code == code, done.stderr
    if code:
        assert "is there already, and nothing was sent" in done.stderr and hub.repositories["me/toggle"].files == there


def test_a_hub_that_fails_or_is_not_there_is_one_sentence_and_the_command_can_be_repeated(publish, run):
    with HubUploads(fails="/commit/main") as hub:
        done = publish(hub, str(run), "me/toggle")
        assert done.code == 2 and "500" in done.stderr and "Traceback" not in done.stderr
        hub.fails = ""
        assert publish(hub, str(run), "me/toggle").code == 0
    with HubUploads() as gone:
        pass
    done = publish(gone, str(run), "me/other")
    assert done.code == 2 and f"{gone.url}/me/other: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "given, said",
    [
        ({"status": "interrupted"}, "train.py resume="),
        ({"status": "running"}, "is interrupted"),  # nobody holds its lock
        ({"student": None}, "its student/ is missing; python train.py reproduce="),
    ],
)
def test_a_run_that_is_not_done_is_refused(publish, tmp_path, given, said):
    run = finished_run(tmp_path / "run", **given)
    with HubUploads() as hub:
        done = publish(hub, str(run), "me/toggle")
    assert done.code == 2 and said in done.stderr and hub.requests == []


@pytest.mark.parametrize("named", ["run/student", "", "rnu"])
def test_what_is_no_run_is_refused_with_the_nearest_one(publish, tmp_path, named):
    finished_run(tmp_path / "run")
    with HubUploads() as hub:
        done = publish(hub, str(tmp_path / named), "me/toggle")
    assert done.code == 2 and "no run directory" in done.stderr and f"did you mean {tmp_path / 'run'}?" in done.stderr


def test_the_command_as_it_is_typed(run):
    with HubUploads() as hub:
        asked = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
        done = door("publish", str(run), "me/typed", **asked)
    assert done.code == 0 and hub.repositories["me/typed"].files.keys() == {path.name for path in TINY.iterdir()}, done.stderr
    assert TOKEN not in done.stdout + done.stderr
