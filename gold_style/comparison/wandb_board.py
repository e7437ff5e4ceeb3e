"""A comparison in W&B: one run of job type `compare` with the leaderboard as a table, the heatmap and the whole page.

Online it is followed by a workspace with parallel coordinates of the varied settings against the margin, made by W&B's own API
package (`pip install wandb-workspaces`); without a key everything stays in an offline directory that `wandb sync` uploads.

    lines = publish(board, Path("multirun/x/y"), directories)      # for the user
"""

import html
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gold_style.comparison.charts import heatmap
from gold_style.comparison.leaderboard import Leaderboard, short_names
from gold_style.comparison.leaderboard_table import TEXTS, leaderboard_rows
from gold_style.comparison.verdict import sentence
from gold_style.runs.naming import label
from gold_style.runs.redact import redact
from gold_style.runs.trackers.wandb import FINISH_S, INIT_S, mode_of, style_workspace

CONFIG = "gold_style"  # the key of W&B's config that holds ours


def publish(board: Leaderboard, output: Path, directories: Sequence[Path]) -> list[str]:
    """Log the comparison in `output` as one W&B run under `output`/wandb; returns lines for the user. Raises ValueError without wandb."""
    try:
        import wandb
    except ImportError:
        raise ValueError("--wandb: not installed: pip install wandb") from None
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    mode = "online" if mode_of("auto") == "online" else "offline"
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
    page = redact((output / "compare.html").read_text(encoding="utf-8"))
    media = {"leaderboard": board_table(wandb, board), "page": wandb.Html(page, inject=False)}
    if drawn := heatmap(board):
        media["heatmap"] = wandb.Html(drawn.file(), inject=False)
    run.log(media)
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
    rows = redact(leaderboard_rows(board))
    return wandb.Table(columns=list(rows[0]), data=[[cell(value) for value in row.values()] for row in rows], allow_mixed_types=True)


def cell(value: Any) -> Any:
    """A value of leaderboard.csv as a number, else as escaped text; None where nothing is known."""
    try:
        return None if value in (None, "") else float(value)
    except (TypeError, ValueError):
        return html.escape(str(value), quote=False)


def summary(board: Leaderboard) -> dict[str, Any]:
    """The headline: how the runs ended, and the best entry."""
    counted = Counter(run.status for run in board.runs)
    found: dict[str, Any] = {"verdict": sentence(board)} | {f"runs/{status}": number for status, number in counted.items()}
    if board.best:
        low, high = board.best.interval or (None, None)
        found |= {
            "best/margin": board.best.margin,
            "best/margin_low": low,
            "best/margin_high": high,
            **{f"best/{name}": board.best.mean(name) for name in ("untagged", *TEXTS["retention"])},
        }
        found |= {f"best/{name}": value for name, value in zip(short_names(board.varied), board.best.settings.values(), strict=True)}
    return found


def workspace(board: Leaderboard, entity: str, project: str, groups: Sequence[str]) -> Any:
    """A W&B workspace: parallel coordinates, importance of the settings, curves; only the runs of these sweeps."""
    import wandb_workspaces.reports.v2 as panels

    column = panels.ParallelCoordinatesPlotColumn
    columns = [column(metric=panels.Config(f"{CONFIG}.{key}"), display_name=key) for key in [*board.varied, "seed"]]
    columns.append(column(metric=panels.SummaryMetric("after.margin"), display_name="margin"))
    settings = panels.ParallelCoordinatesPlot(title="Varied settings against margin", columns=columns)
    return style_workspace(entity, project, groups, [settings, panels.ParameterImportancePlot(with_respect_to="after.margin")])


def save_workspace(board: Leaderboard, entity: str, project: str, groups: Sequence[str]) -> list[str]:
    """Make the workspace; what prevents it is reported and stops nothing."""
    try:
        return [f"W&B workspace: {workspace(board, entity, project, groups).save().url}"]
    except ImportError:
        return ["W&B: for a workspace with parallel coordinates: pip install wandb-workspaces"]
    except Exception as error:
        return [f"W&B: no workspace was made ({redact(str(error)).splitlines()[0][:200]})"]
