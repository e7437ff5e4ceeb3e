"""A comparison in W&B: one run of job type `compare` with the leaderboard as a table, the heatmap and the whole page.

Online it is followed by a workspace with parallel coordinates of the varied settings against the margin, made by W&B's own API
package (`pip install wandb-workspaces`); without a key everything stays in an offline directory that `wandb sync` uploads.

    lines = publish(board, Path("multirun/x/y"), html, directories)      # what to tell the user
"""

import csv
import html
import io
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gold_style.comparison.leaderboard import Leaderboard, short_names, value_text
from gold_style.comparison.leaderboard_table import leaderboard_csv
from gold_style.comparison.page import natural
from gold_style.runs.naming import label
from gold_style.runs.redact import redact
from gold_style.runs.trackers.wandb import FINISH_S, INIT_S, has_key
from gold_style.show.standalone import heatmap_svg

CONFIG = "gold_style"  # the key of W&B's config that holds ours
HEATMAP = ("loss.beta", "loss.lmbda")


def publish(board: Leaderboard, output: Path, page: str, directories: Sequence[Path]) -> list[str]:
    """Log the comparison as one W&B run under `output`/wandb; returns lines for the user. Raises ValueError without wandb."""
    try:
        import wandb
    except ImportError:
        raise ValueError("--wandb: not installed: pip install wandb") from None
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    asked = os.environ.get("WANDB_MODE", "").lower()
    mode = "online" if has_key() and asked not in ("offline", "dryrun", "disabled") else "offline"
    where = {name: most_common(run.settings.get(f"tracker.{name}") for run in board.runs) for name in ("project", "entity")}
    groups = sorted({label(run.directory.parent) for run in board.runs})
    settings = wandb.Settings(console="off", silent=True, init_timeout=INIT_S, finish_timeout=FINISH_S, disable_code=True, disable_git=True)
    run = wandb.init(
        project=where["project"] or "gold-style",
        entity=where["entity"],
        mode=mode,
        dir=str(output),
        job_type="compare",
        group=groups[0] if len(groups) == 1 else None,
        name=f"compare {label(directories[0].resolve())}",
        tags=["compare"],
        config={"varied": board.varied, "sweeps": groups, "runs": len(board.runs)},
        reinit="finish_previous",
        settings=settings,
    )
    run.log({"leaderboard": board_table(wandb, board), "page": wandb.Html(redact(page), inject=False)} | heatmap(wandb, board))
    run.summary.update(summary(board))
    directory = Path(run.dir).parent
    run.finish()
    if mode == "offline":
        return [f"W&B: not uploaded; to upload the comparison: wandb sync {shlex.quote(str(directory))}"]
    return [f"W&B: {run.url}", *save_workspace(board, run.entity, run.project, groups)]


def most_common(values: Any) -> Any:
    """The value that most runs have; None where none has any."""
    counted = Counter(value for value in values if value is not None)
    return counted.most_common(1)[0][0] if counted else None


def board_table(wandb: Any, board: Leaderboard) -> Any:
    """leaderboard.csv as a W&B table; numbers stay numbers, and what models or users wrote is escaped."""
    rows = list(csv.reader(io.StringIO(redact(leaderboard_csv(board)))))
    return wandb.Table(columns=rows[0], data=[[cell(text) for text in row] for row in rows[1:]], allow_mixed_types=True)


def cell(text: str) -> Any:
    try:
        return float(text) if text else None
    except ValueError:
        return html.escape(text, quote=False)


def heatmap(wandb: Any, board: Leaderboard) -> dict[str, Any]:
    """{"heatmap": ...} of beta x lmbda, or of the first two varied settings; nothing where fewer varied."""
    if drawn := board_heatmap(board):
        return {"heatmap": wandb.Html(drawn, inject=False)}
    return {}


def board_heatmap(board: Leaderboard) -> str:
    """The heatmap as an SVG file; empty where fewer than two settings varied."""
    keys = HEATMAP if set(HEATMAP) <= set(board.varied) else tuple(board.varied[:2])
    if len(keys) < 2:
        return ""
    margins: dict[tuple[str, str], list[float | None]] = {}
    for entry in board.entries:
        margins.setdefault(tuple(value_text(entry.settings[key]) for key in keys), []).append(entry.margin)
    cells = {}
    for place, found in margins.items():
        known = [margin for margin in found if margin is not None]
        cells[place] = (sum(known) / len(known) if known else None, f"{len(known)} of {len(found)}")
    down, across = (sorted({place[axis] for place in cells}, key=natural) for axis in (0, 1))
    return heatmap_svg(cells, down=down, across=across, names=tuple(short_names(keys)), title="Margin")


def summary(board: Leaderboard) -> dict[str, Any]:
    """The headline: how the runs ended, and the best entry."""
    counted = Counter(run.status for run in board.runs)
    told: dict[str, Any] = {f"runs/{status}": number for status, number in counted.items()}
    if board.best:
        low, high = board.best.interval or (None, None)
        told |= {"best/margin": board.best.margin, "best/margin_low": low, "best/margin_high": high}
        told |= {f"best/{name}": value for name, value in zip(short_names(board.varied), board.best.settings.values(), strict=True)}
    return told


def workspace(board: Leaderboard, entity: str, project: str, groups: Sequence[str]) -> Any:
    """A W&B workspace: parallel coordinates, margin over steps, importance of the settings; only the runs of these sweeps."""
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    column = panels.ParallelCoordinatesPlotColumn
    columns = [column(metric=panels.Config(f"{CONFIG}.{key}"), display_name=key) for key in [*board.varied, "seed"]]
    columns.append(column(metric=panels.SummaryMetric("after.margin"), display_name="margin"))
    shown = [
        panels.ParallelCoordinatesPlot(title="Varied settings against margin", columns=columns),
        panels.LinePlot(title="Margin (live)", x="train/global_step", y=["style/margin"]),
        panels.LinePlot(title="Leakage (live)", x="train/global_step", y=["style/leakage"]),
        panels.LinePlot(title="Loss", x="train/global_step", y=["train/loss"]),
        panels.ParameterImportancePlot(with_respect_to="after.margin"),
    ]
    chosen = f"Metric('Group') in {list(groups)!r}"
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"gold_style {groups[0]}" if groups else "gold_style",
        sections=[workspaces.Section(name="Sweep", panels=shown, is_open=True)],
        runset_settings=workspaces.RunsetSettings(filters=chosen if groups else None),
    )


def save_workspace(board: Leaderboard, entity: str, project: str, groups: Sequence[str]) -> list[str]:
    """Make the workspace; what stands against it is told and stops nothing."""
    try:
        return [f"W&B workspace: {workspace(board, entity, project, groups).save().url}"]
    except ImportError:
        return ["W&B: for a workspace with parallel coordinates: pip install wandb-workspaces"]
    except Exception as error:
        return [f"W&B: no workspace was made ({redact(str(error)).splitlines()[0][:200]})"]
