"""The comparison as a W&B run and workspace."""

import json

import pytest

from gold_style.comparison.command import main
from gold_style.comparison.leaderboard import leaderboard
from gold_style.comparison.records import read_runs
from gold_style.comparison.wandb_board import workspace
from gold_style.runs.trackers.wandb import style_workspace
from tests.helpers.wandb_file import read_wandb_file, wandb_files


def test_publishing_leaves_one_wandb_run_with_table_heatmap_and_page(sweep, tmp_path, capsys, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    assert main([str(sweep / "2026-11-22"), "--output", str(tmp_path), "--wandb"]) == 0
    assert "wandb sync" in capsys.readouterr().out
    (path,) = wandb_files(tmp_path)
    logged = read_wandb_file(path)
    assert (logged.job_type, logged.group, logged.tags) == ("compare", "10-00-00", ["compare"])
    assert logged.summary["runs/completed"] == 5 and logged.summary["best/margin"] == pytest.approx(0.98, abs=0.05)
    assert logged.summary["best/untagged"] is None  # these runs did not ask without a tag
    media = path.parent / "files" / "media"
    (table,) = media.glob("table/*.json")
    content = json.loads(table.read_text())
    assert len(content["data"]) == 7 and content["columns"][:2] == ["rank", "status"]
    margin = content["columns"].index("margin")
    assert all(row[margin] is None or isinstance(row[margin], float) for row in content["data"])
    pages = {path.name.split("_")[0]: path.read_text() for path in media.glob("html/*.html")}
    assert set(pages) == {"heatmap", "page"} and pages["heatmap"].startswith("<svg") and "Leaderboard" in pages["page"]


def test_a_workspace_shows_the_varied_settings_against_the_margin(sweep):
    panels = workspace(leaderboard(read_runs([sweep])), "team", "project", ["10-00-00"]).sections[0].panels
    metrics = [column.metric.name for column in panels[0].columns]
    assert metrics == ["gold_style.loss.beta", "gold_style.loss.lmbda", "gold_style.seed", "after.margin"]
    assert [panel.title for panel in panels[2:4]] == ["style/margin", "style/leakage"]


def test_a_single_run_has_a_workspace_with_margin_and_leakage_first():
    made = style_workspace("team", "project", ["tiny joseon"])
    (section,) = made.sections
    assert section.is_open and [panel.y for panel in section.panels[:2]] == [["style/margin"], ["style/leakage"]]
    assert made.name == "gold_style tiny joseon" and "tiny joseon" in str(made.runset_settings.filters)
