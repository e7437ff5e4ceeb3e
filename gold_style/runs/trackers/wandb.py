"""Weights & Biases: online with a key, offline without one, and never in the way.

Every call to W&B is made by a thread of its own, in order, from a queue: neither `wandb.init` on a server that hangs
nor an artifact's queries hold up training. When the server cannot be reached or refuses the key, the run is logged
offline; when W&B's own process dies, an offline run starts again from metrics.jsonl. `close` waits for uploads no
longer than FINISH_S.

Facts about wandb 0.31 this rests on (measured): the whole run is in the `.wandb` file whatever the server does,
and `wandb sync` uploads it; after a failed `init` the run id is free again only after `teardown`; `finish_timeout`
bounds `finish`.
"""

import configparser
import contextlib
import html
import os
import queue
import secrets
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gold_style.runs.files import plain, read_json_lines
from gold_style.runs.redact import netrc_passwords, redact, say
from gold_style.runs.trackers import STEP_KEY, TrackedRun, Tracker

INIT_S = 20.0  # for the server's first answer; training does not wait for it
FINISH_S = 20.0  # for the last uploads, once the run is over
PREDECESSOR_S = 30.0  # for the end of an earlier run in the same process
THREAD = "gold_style W&B"
UPLOAD_S = 900.0  # the same, when a model is uploaded
FIRST_METRICS = ("style/margin", "style/leakage", "style/untagged")
CLOUD = "https://api.wandb.ai"


def server() -> str:
    """The W&B server: WANDB_BASE_URL, or what `wandb login --host` wrote, or the cloud."""
    written = configparser.ConfigParser()
    directory = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
        written.read(Path(directory, "settings").expanduser())
    return os.environ.get("WANDB_BASE_URL") or written.get("default", "base_url", fallback=CLOUD)


def has_key() -> bool:
    """Whether W&B will find credentials: WANDB_API_KEY, an identity token, or .netrc (written by `wandb login`)."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    return urlsplit(server()).netloc in netrc_passwords()


def mode_of(mode: str) -> str:
    """online, offline or disabled; auto (of tracker.mode) obeys WANDB_MODE, then looks for a key."""
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE", "").lower()
    if asked == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        return "disabled"
    return "online" if has_key() and asked not in ("offline", "dryrun") else "offline"


def check(settings) -> None:
    if find_spec("wandb") is None:
        raise ValueError("tracker=wandb: not installed: pip install wandb, or choose tracker=none")
    if settings.mode == "online" and not has_key():
        raise ValueError("tracker.mode=online: no key: run `wandb login`, set WANDB_API_KEY, or take tracker.mode=auto")


def open_tracker(settings, run: TrackedRun) -> Tracker:
    mode = mode_of(settings.mode)
    if mode == "disabled":
        say("W&B is disabled by its environment variable; this run is not tracked")
        return Tracker()
    if mode == "offline" and settings.mode == "auto" and not has_key():
        say("W&B: no key found, logging offline (`wandb login` changes that; `wandb sync` uploads later)")
    return Wandb(settings, run, mode)


def style_workspace(entity: str, project: str, groups: Sequence[str], panels: Sequence = ()) -> Any:
    """A workspace of the runs in `groups`: the panels, then curves, margin first. Raises ImportError without wandb-workspaces."""
    import wandb_workspaces.reports.v2 as reports
    import wandb_workspaces.workspaces as workspaces

    curves = [reports.LinePlot(title=name, x=STEP_KEY, y=[name]) for name in (*FIRST_METRICS, "train/loss")]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=" ".join(["gold_style", *groups[:1]]),
        sections=[workspaces.Section(name="Style", panels=[*panels, *curves], is_open=True)],
        runset_settings=workspaces.RunsetSettings(filters=f"Metric('Group') in {list(groups)!r}" if groups else None),
    )


class Wandb(Tracker):
    """A W&B run at the other end of a queue."""

    def __init__(self, settings, run: TrackedRun, mode: str):
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else its telemetry holds up the end of the process
        os.environ.setdefault("WANDB_HTTP_TIMEOUT", "5")  # s, of the queries that go with a table or an artifact
        import wandb  # here, in the main thread: two threads importing at once can see half of a module

        self.wandb, self.settings, self.run, self.mode = wandb, settings, run, mode
        self.finish_s = UPLOAD_S if settings.log_model else FINISH_S
        self.run_id = run.run_id or secrets.token_hex(4)
        self.url: str | None = None
        self.fault: str | None = None
        self.step = run.first_step  # of the last row
        self.num_logged = 0  # rows handed to W&B by this process
        self.kept: list[Callable[[], None]] = []  # what else was handed over: a few tables and summaries
        self.num_before = sum(1 for _ in read_json_lines(run.metrics))
        self.wandb_run = None
        self.is_finished = False  # the uploads are over
        self.workspace: list[str] = []  # lines about it
        self.items: queue.SimpleQueue = queue.SimpleQueue()
        self.data_directory = os.environ.get("WANDB_DATA_DIR")
        os.environ["WANDB_DATA_DIR"] = self.data_directory or str(run.directory / "wandb")  # tables travel with the run
        self.thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
        self.thread.start()

    # ---- the run's side: returns at once ---------------------------------------------------------------------------

    def log(self, row: dict[str, float], step: int) -> None:
        self.step, numbers = step, {**row, STEP_KEY: step}
        self.items.put(("row", lambda: self._log_row(numbers)))

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
        cells = [[html.escape(cell, quote=False) if isinstance(cell, str) else cell for cell in row] for row in rows]
        step = self.step

        def send() -> None:
            table = self.wandb.Table(columns=list(columns), data=cells, allow_mixed_types=True)
            self.wandb_run.log({STEP_KEY: step, name: table})

        self.items.put(("table", send))

    def summarize(self, summary: dict) -> None:
        numbers = plain(summary)
        self.items.put(("summary", lambda: self.wandb_run.summary.update(numbers)))

    def save_model(self, directory: Path, name: str) -> None:
        def send() -> None:
            artifact = self.wandb.Artifact(name, type="model")
            artifact.add_dir(str(directory), policy="immutable", skip_cache=True)  # read in place, not copied
            self.wandb_run.log_artifact(artifact, aliases=["latest", "best"])

        if self.settings.log_model:
            self.items.put(("model", send))

    def describe(self) -> dict:
        return {"name": "wandb", "run_id": self.run_id, "mode": self.mode, "url": self.url}

    def close(self, exit_code: int) -> list[str]:
        self.items.put(("finish", lambda: self.wandb_run.finish(exit_code=exit_code)))
        self.thread.join(INIT_S + self.finish_s + 15)
        if self.data_directory is None:
            os.environ.pop("WANDB_DATA_DIR", None)
        if self.thread.is_alive() and not self.is_finished:
            self.fault = self.fault or "it does not answer"
        directories = self._directories()
        if self.mode == "online" and not self.fault:
            return [f"W&B: {self.url}", *self.workspace] if self.url else []
        if not directories:
            return [f"W&B has failed ({self.fault}); metrics.jsonl is complete"]
        trouble = f" ({self.fault})" if self.fault else ""
        return [f"W&B: not uploaded{trouble}; to upload this run: wandb sync {shlex.join(map(str, directories))}"]

    def _directories(self) -> list[Path]:
        """Directories of this W&B run, oldest first; several where it was resumed."""
        found = [path for path in self.run.directory.glob(f"wandb/*run-*-{self.run_id}") if not path.is_symlink()]
        return sorted(found, key=lambda path: path.name.partition("run-")[2])

    # ---- the thread's side -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        for thread in threading.enumerate():  # of a run before in this process: its teardown would end W&B's process under ours
            if thread.name == self.thread.name and thread is not self.thread:
                thread.join(PREDECESSOR_S)
        try:
            self._open()
        except Exception as error:
            self._broken(error)
        kind = None
        while kind != "finish":
            kind, send = self.items.get()
            try:
                if self.wandb_run is not None:
                    send()
            except Exception as error:
                self._trouble(kind, send, error)
            if kind in ("table", "summary"):
                self.kept.append(send)
        self.is_finished = True
        if self.url and not self.fault and self.run.group and find_spec("wandb_workspaces"):
            with contextlib.suppress(Exception):  # whatever W&B's server or that package says: curves are there without it
                where, group = (self.wandb_run.entity, self.wandb_run.project), self.run.group
                if len(self.wandb.Api().runs("/".join(where), {"group": group})) == 1:  # the first run of its group makes it for all
                    self.workspace = [f"W&B workspace: {style_workspace(*where, [group]).save().url}"]
        try:
            self.wandb.teardown()  # ends W&B's process, so that nothing of it outlives the run
        except Exception as error:
            self.fault = self.fault or _words(error)

    def _open(self) -> None:
        """Start the W&B run: as `mode` says, or offline where online fails."""
        if self.mode == "online":
            before = set(self._directories())
            try:
                self._init()
                self.url = self.wandb_run.url
                return say(f"W&B: {self.url}")
            except Exception as error:
                self.wandb.teardown()
                for directory in set(self._directories()) - before:  # holds nothing but the attempt
                    shutil.rmtree(directory, ignore_errors=True)
                self.mode, self.fault = "offline", _words(error)
                say(f"warning: W&B cannot be used online ({self.fault}); logging offline")
        self._init()

    def _init(self) -> None:
        wandb, run = self.wandb, self.run
        wandb.setup(wandb.Settings(silent=True))
        hide = redact(sys.argv) != sys.argv  # W&B's own notes quote the command line
        settings = wandb.Settings(
            console="off",
            silent=True,
            init_timeout=INIT_S,
            finish_timeout=self.finish_s,
            finish_timeout_raises=True,
            disable_code=True,
            disable_git=hide,
            x_disable_meta=hide,
            x_transaction_log_flush_interval=2.0,
        )
        self.wandb_run = wandb.init(
            project=self.settings.project,
            entity=self.settings.entity,
            group=run.group,
            name=run.name,
            tags=list(run.tags or self.settings.tags),
            job_type="train",
            config={"gold_style": run.config},
            id=self.run_id,
            resume="allow" if run.run_id else None,
            mode=self.mode,
            dir=str(run.directory),
            reinit="finish_previous",
            settings=settings,
        )
        self.wandb_run.define_metric(STEP_KEY)
        for name in (*FIRST_METRICS, "*"):  # a workspace shows the first ones first
            self.wandb_run.define_metric(name, step_metric=STEP_KEY)

    def _log_row(self, row: dict) -> None:
        self.wandb_run.log(row)
        self.num_logged += 1

    def _trouble(self, kind: str, send: Callable[[], None], error: Exception) -> None:
        """A call failed: what the server would not take is left out, and a dead W&B process is replaced, once."""
        if kind == "finish" and isinstance(error, TimeoutError):
            self.fault = f"not everything was uploaded within {self.finish_s:g} s"
        elif kind in ("table", "model"):
            say(f"warning: W&B did not take the {kind} ({_words(error)}); it is in the run directory")
        elif self.fault is None:
            self._broken(error)
            if self.wandb_run is not None:
                with contextlib.suppress(Exception):
                    send()
        else:
            self.wandb_run, self.fault = None, _words(error)

    def _broken(self, error: Exception) -> None:
        """W&B's process is gone: start an offline run with what this process has logged so far."""
        self.mode, self.fault, self.wandb_run = "offline", _words(error), None
        say(f"warning: W&B has failed ({self.fault}); starting it again offline")
        with contextlib.suppress(Exception):  # it is gone already
            self.wandb.teardown()
        try:
            self._init()
            for row in islice(read_json_lines(self.run.metrics), self.num_before, self.num_before + self.num_logged):
                numbers = {key: value for key, value in row.items() if isinstance(value, (int, float))}
                self.wandb_run.log({STEP_KEY: numbers.pop("step"), **numbers})
            for send in self.kept:
                send()
        except Exception as second:
            self.wandb_run = None
            say(f"warning: W&B could not be started again ({_words(second)}); metrics.jsonl stays complete")


def _words(error: Exception) -> str:
    """The first line of an exception, without secrets."""
    lines = redact(str(error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
