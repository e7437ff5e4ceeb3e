"""Presets of sweeps: what `sweep=NAME` stands for, and that every one composes into jobs that can run."""

import pytest

from gold_style.config.check.command_line import check
from gold_style.config.check.presets import with_own_conf, with_preset
from gold_style.config.settings import CONF, SettingsError

PRESETS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))


def test_the_promised_presets_are_there():
    assert PRESETS == ["beta_lmbda", "search", "styles"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_sweep_whose_jobs_can_run(name):
    arguments = with_preset([f"sweep={name}", "dry_run=true"], CONF)
    assert "-m" in arguments and len(arguments) > 3
    ready, _ = check(arguments, "config")
    assert set(arguments) <= {text.replace('"', "") for text in ready} | set(ready)
    text = (CONF / "sweep" / f"{name}.yaml").read_text()
    assert text.startswith("# Purpose: ") and f"#   python train.py -m sweep={name}" in text


def test_the_command_line_wins_over_a_preset():
    arguments = with_preset(["sweep=beta_lmbda", "-m", "seed=0", "loss.beta=0.3"], CONF)
    assert arguments == ["sweep=beta_lmbda", "-m", "seed=0", "loss.beta=0.3", "loss.seq_kd=true", "loss.lmbda=0,0.5,1"]


def test_a_search_brings_its_sweeper():
    assert "hydra/sweeper=gold_style_search" in with_preset(["sweep=search"], CONF)
    assert "hydra/sweeper=gold_style_search" in with_preset(["-m", "sweep.search.trials=5", "loss.beta=interval(0,1)"], CONF)
    assert "hydra/sweeper=gold_style_search" not in with_preset(["sweep=search", "sweep.search.trials=0"], CONF)


def test_other_command_lines_stay_as_they_are():
    for line in (["seed=1"], ["-m", "seed=0,1"], ["sweep=nothing"], ["sweep=null"], []):
        assert with_preset(line, CONF) == line


def test_an_interval_without_a_search_is_refused_with_the_remedy():
    with pytest.raises(SettingsError, match="sweep.search.trials=20"):
        check(["-m", "loss.beta=interval(0,1)"], "config")
    check(with_preset(["-m", "loss.beta=interval(0,1)", "sweep.search.trials=3"], CONF), "config")


def test_packs_of_the_working_directory_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert with_own_conf(["seed=1"], CONF) == ["seed=1"]
    (tmp_path / "conf/styles").mkdir(parents=True)
    assert with_own_conf(["seed=1"], CONF) == ["seed=1"]
    (tmp_path / "conf/styles/own.yaml").write_text("")
    assert with_own_conf(["seed=1"], CONF) == ["seed=1", "--config-dir", "conf"]
    for named in (["--config-dir", "elsewhere"], ["-cd=elsewhere"]):
        assert with_own_conf(named, CONF) == named
    monkeypatch.chdir(CONF.parent)
    assert with_own_conf(["seed=1"], CONF) == ["seed=1"]
