"""evaluation.retention in real runs: what is measured, where it is shown, and what is refused before a model is loaded."""

import csv

import pytest

from gold_style.comparison.command import main as compare
from gold_style.config.check.command_line import check
from gold_style.config.settings import SettingsError
from gold_style.runs.files import read_json
from gold_style.speech.languages import HELD_OUT, held_out
from tests.helpers.commands import SMALL, python
from tests.helpers.wandb_file import read_wandb_file, wandb_files


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["styles=bard", "styles.language=fr"], "there are held-out texts in en and ko, none in styles.language=fr"),
        (["evaluation.untagged=false"], "add evaluation.untagged=true"),
        (["evaluation.retention=maybe"], "evaluation.retention"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_start(overrides, reason):
    with pytest.raises(SettingsError, match=reason):
        check(["evaluation.retention=true", *overrides], "config")


@pytest.mark.parametrize("overrides", [["styles=bard"], ["evaluation.retention=false", "evaluation.untagged=false"]])
def test_what_can_be_measured_is_let_through(overrides):
    check(["evaluation.retention=true", *overrides], "config")


def test_a_language_is_a_pair_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr("gold_style.speech.languages.HELD_OUT", tmp_path)
    for path in HELD_OUT.glob("en.*"):
        (tmp_path / f"de{path.suffix}").write_bytes(path.read_bytes())
    assert len(held_out("de")[1]) == 60
    with pytest.raises(ValueError, match="evaluation.retention=true: there are held-out texts in de, none in styles.language=den; did you"):
        held_out("den")
    (tmp_path / "de.txt").unlink()
    with pytest.raises(ValueError, match=r"write .*/de.txt and .jsonl, or set evaluation.retention=null"):
        held_out("de")


def kept(run) -> dict:
    return read_json(run / "summary.json")["details"]["retention"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run with all weights trained, one with LoRA, and one that does not measure it."""
    directory = tmp_path_factory.mktemp("retention")
    asked = {
        "full": ["evaluation.retention=true", "tracker=wandb", "evaluation.sampled=true"],
        "lora": ["evaluation.retention=true", "model.lora.enabled=true", "train.learning_rate=1e-2", "train.optim=adamw_torch"],
        "off": [],
    }
    done = {name: python("train.py", *SMALL, *more, f"output_dir=runs/{name}", cwd=directory) for name, more in asked.items()}
    assert {name: one.code for name, one in done.items()} == dict.fromkeys(asked, 0), [one.stderr[-2000:] for one in done.values()]
    return done


@pytest.mark.slow
def test_a_run_measures_what_its_student_has_kept(runs):
    full, lora = kept(runs["full"].run), kept(runs["lora"].run)
    for found in (full, lora):
        assert found["kl_nats"]["value"] > 0 and found["kl_nats"]["interval"][0] <= found["kl_nats"]["value"]
        assert found["choice"]["chance"] == 0.25 and found["choice"]["teacher"] is not None
        for part in (found["bits_per_byte"], found["choice"]):
            assert part["change"] == pytest.approx(part["after"] - part["before"])
            assert part["interval"][0] <= part["change"] <= part["interval"][1]
    # one start, loaded again
    assert full["bits_per_byte"]["before"] == pytest.approx(lora["bits_per_byte"]["before"], rel=1e-5)
    assert (full["choice"]["before"], full["choice"]["teacher"]) == (lora["choice"]["before"], lora["choice"]["teacher"])
    assert full["bits_per_byte"]["change"] != lora["bits_per_byte"]["change"] != 0


@pytest.mark.slow
def test_it_is_shown_everywhere_and_nowhere_where_it_is_off(runs, tmp_path):
    run, off = runs["full"].run, runs["off"].run
    assert "retention: bits per byte" in runs["full"].stdout and "(chance 15)" in runs["full"].stdout
    assert "retention: bits per byte" in (run / "student" / "README.md").read_text()
    page = (run / "report.html").read_text()
    assert "bits per byte of a held-out text" in page and "retention: bits per byte" in page
    assert read_wandb_file(wandb_files(run)[0]).summary["details"]["retention"]["choice"]["items"] == 60
    assert (
        "bits per byte" not in runs["off"].stdout + (off / "report.html").read_text() and "retention: neutral answers" in runs["off"].stdout
    )
    assert "retention" not in read_json(off / "summary.json")["details"]
    assert compare([str(run.parent), "--output", str(tmp_path)]) == 0
    html = (tmp_path / "compare.html").read_text()
    assert "change of bits per byte, %" in html and "bits per byte, change in %" in html
    lines = {line["directory"]: line for line in csv.DictReader((tmp_path / "leaderboard.csv").open())}
    assert float(lines[str(run)]["kl_nats"]) == kept(run)["kl_nats"]["value"] and lines[str(off)]["kl_nats"] == ""


@pytest.mark.slow
def test_a_run_that_did_not_measure_it_is_measured_later(runs, tmp_path):
    """The same numbers as within the run; a model without a run has no start."""
    again = python("evaluate.py", f"target={runs['full'].run}/student", "hardware=cpu", "output_dir=again", cwd=tmp_path)
    later = python(
        "evaluate.py", f"target={runs['off'].run}", "evaluation.retention=true", "hardware=cpu", "output_dir=later", cwd=tmp_path
    )
    assert (again.code, later.code) == (0, 0), again.stderr[-2000:] + later.stderr[-2000:]
    for part in ("bits_per_byte", "choice"):
        assert kept(again.run)[part]["after"] == pytest.approx(kept(runs["full"].run)[part]["after"], rel=1e-3)
        assert kept(again.run)[part]["before"] == pytest.approx(kept(runs["full"].run)[part]["before"], rel=1e-5)
    assert kept(again.run)["kl_nats"]["value"] == pytest.approx(kept(runs["full"].run)["kl_nats"]["value"], rel=0.02)
    assert kept(later.run)["choice"]["teacher"] == kept(runs["full"].run)["choice"]["teacher"]
    bare = python("evaluate.py", "target=gold_style/pairs/tiny/student", "evaluation.retention=true", cwd=tmp_path)
    assert bare.code == 2 and "belongs to no run, so there is no start to compare it with" in bare.stderr
