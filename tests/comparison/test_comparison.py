"""Many runs into one leaderboard: varied settings, ranks, intervals, tests, costs, failures, csv and page."""

import csv
import io
import itertools
import json
import shlex
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from rich.console import Console

from gold_style.comparison.charts import heatmap
from gold_style.comparison.command import compare, main
from gold_style.comparison.leaderboard import interval_over_seeds, leaderboard, pareto, short_names, value_text, varied_settings
from gold_style.comparison.leaderboard_table import leaderboard_csv, print_leaderboard
from gold_style.comparison.page import compare_html
from gold_style.comparison.records import RunRecord, flattened, read_run, read_runs, read_settings, verdicts
from gold_style.comparison.wandb_board import workspace
from gold_style.measure.samples import sample_rows
from gold_style.runs.files import write_json, write_json_lines
from gold_style.show.svg import Curve, line_chart
from tests.helpers.run_files import answer, write_run
from tests.helpers.wandb_file import read_wandb_file, wandb_files
from tests.show.test_report import checked

GRID = [(beta, lmbda, seed) for beta in (0.3, 1.0) for lmbda in (0.0, 1.0) for seed in (0, 1)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """A grid of 2 x 2 settings over 2 seeds; one run failed, one was killed, one goes by another day."""
    root = tmp_path_factory.mktemp("sweep")
    for number, (beta, lmbda, seed) in enumerate(GRID):
        status, reason = "completed", None
        if number == 5:
            status, reason = "failed", "NonFinite: loss is nan at step 31"
        if number == 7:
            status = "running"  # nobody holds its lock: it was killed
        day = "2026-11-21" if number == 0 else "2026-11-22"
        write_run(
            root / day / "10-00-00" / str(number),
            config={"loss": {"beta": beta, "lmbda": lmbda}, "model": {"name": "tiny"}},
            seed=seed,
            status=status,
            reason=reason,
            after=(0.98 - 0.3 * (beta - 0.3), 0.02 + 0.2 * lmbda),
            started=f"{day}T10:00:0{number}",
            steps=40 + 10 * number,
            command="train.py -m loss.beta=0.3,1 loss.lmbda=0,1 seed=0,1",
        )
    return root


def made_run(number: int = 0, seed: int = 0, command: str = "", **settings) -> RunRecord:
    """A run without files."""
    state = {"command": command}
    return RunRecord(Path(f"/r/{number}"), "completed", None, state, {"seed": seed, **settings}, {}, [])


def test_varied_settings_are_found_without_their_consequences():
    runs = [
        made_run(0, 0, **{"model.name": "tiny", "model.teacher": "a", "model.recipe.beta": 0.3, "loss.beta": 0.3, "output_dir": "x"}),
        made_run(1, 1, **{"model.name": "big", "model.teacher": "b", "model.recipe.beta": 0.5, "loss.beta": 0.5, "output_dir": "y"}),
        made_run(2, 1, **{"model.name": "big", "model.teacher": "b", "model.recipe.beta": 0.5, "loss.beta": 1.0, "output_dir": "z"}),
    ]
    assert varied_settings(runs) == ["model.name", "loss.beta"]
    assert varied_settings(runs[1:]) == ["loss.beta"]
    assert varied_settings(runs[:1]) == []


def test_settings_of_the_command_line_are_kept_even_in_lockstep():
    command = "train.py -m loss.beta=0,1 +train.learning_rate=1,2"
    runs = [made_run(n, 0, command, **{"loss.beta": n, "train.learning_rate": n + 1, "train.warmup_steps": n}) for n in (0, 1)]
    assert varied_settings(runs) == ["loss.beta", "train.learning_rate"]


def test_equal_numbers_are_one_value():
    runs = [made_run(0, 0, **{"loss.lmbda": 1}), made_run(1, 1, **{"loss.lmbda": 1.0}), made_run(2, 2, **{"loss.lmbda": 0.5})]
    board = leaderboard(runs)
    assert board.varied == ["loss.lmbda"] and sorted(len(entry.runs) for entry in board.entries) == [1, 2]
    assert (value_text(1.0), value_text(0.3), value_text(1e-5), value_text(None), value_text([1])) == ("1", "0.3", "1e-05", "null", "[1]")


def test_names_are_short_but_tell_apart():
    assert short_names(["loss.beta", "model.name", "prompts.name", "a.x.k", "b.x.k"]) == ["beta", "model", "prompts", "a.x.k", "b.x.k"]


def test_groups_ranks_and_failures(sweep):
    board = leaderboard(read_runs([sweep]))
    assert board.varied == ["loss.beta", "loss.lmbda"] and len(board.runs) == 8 and len(board.entries) == 4
    margins = [entry.margin for entry in board.entries]
    assert margins == sorted(margins, reverse=True) and [entry.rank for entry in board.entries] == [1, 2, 3, 4]
    best = board.best
    assert best.settings == {"loss.beta": 0.3, "loss.lmbda": 0.0} and len(best.scored) == 2
    assert best.margin == pytest.approx(np.mean([run.after["margin"] for run in best.runs]))
    assert {(run.status, run.reason) for run in board.failed} == {
        ("failed", "NonFinite: loss is nan at step 31"),
        ("interrupted", "its process ended without a word (killed, or the machine went down)"),
    }
    low, high = best.interval
    assert low < best.margin < high
    worst = board.entries[-1]
    assert best.p_corrected is None and worst.p_corrected < 0.01 <= 1 and worst.p_value <= worst.p_corrected


def test_tokens_until_a_margin_was_reached(sweep):
    run = read_runs([sweep])[1]
    goal = 0.5 * run.teacher_margin
    rows = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    first = next(row for row in rows if row.get("style/margin", 0) >= goal)
    assert run.tokens_to(goal) == first["perf/tokens"] < run.tokens == rows[-1]["perf/tokens"]
    assert run.tokens_to(2.0) is None


def test_tokens_may_stand_in_another_row_than_the_margin():
    rows = [{"step": 1, "perf/tokens": 100}, {"step": 1, "style/margin": 0.95}, {"step": 2, "perf/tokens": 200}]
    assert RunRecord(Path("/r"), "completed", None, {}, {}, {}, rows).tokens_to(0.9) == 100


def test_interval_over_seeds_grows_with_their_disagreement():
    def hits(rate: float) -> dict:
        return {f"r{n}": (n < rate * 64, False) for n in range(64)}

    agree, disagree = interval_over_seeds([hits(0.7)] * 3), interval_over_seeds([hits(rate) for rate in (0.4, 0.7, 1.0)])
    assert disagree[1] - disagree[0] > 1.5 * (agree[1] - agree[0])
    one = interval_over_seeds([hits(1.0)])
    assert one[0] < 0.96 and one[1] == 1.0  # not a point
    assert interval_over_seeds([]) is None


def test_equal_entries_are_not_called_different(tmp_path):
    for number, beta in enumerate((0.1, 0.2, 0.3)):
        write_run(tmp_path / str(number), config={"loss": {"beta": beta}}, after=(0.9, 0.05))
    board = leaderboard(read_runs([tmp_path]))
    assert [entry.p_corrected for entry in board.entries] == [None, 1.0, 1.0]


def test_the_best_of_many_equal_settings_is_rarely_called_better():
    """The best is chosen by the answers that it is tested on: the choice must not make it significant."""
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(100):
        chance = rng.uniform(0.1, 0.9, 48)
        runs = []
        for setting, seed in itertools.product(range(12), range(2)):
            hits = rng.random(48) < chance
            settings, summary = {"x": setting, "seed": seed}, {"after": {"margin": hits.mean()}}
            run = RunRecord(Path(f"/{setting}/{seed}"), "completed", None, {}, settings, summary, [])
            vars(run)["hits"] = {str(n): (bool(hit), False) for n, hit in enumerate(hits)}
            runs.append(run)
        board = leaderboard(runs)
        called += any(entry.p_corrected is not None and entry.p_corrected < 0.05 for entry in board.entries)
    assert called <= 5


def test_runs_without_common_requests_are_not_tested(tmp_path):
    write_run(tmp_path / "0", config={"loss": {"beta": 0.1}})
    other = write_run(tmp_path / "1", config={"loss": {"beta": 0.2}}, after=(0.5, 0.1))
    made = [answer(n + 1000, tag, "modern") for n in range(20) for tag in ("chosun", "none")]
    write_json_lines(other / "samples.jsonl", sample_rows({"after": made}))
    assert leaderboard(read_runs([tmp_path])).entries[1].p_corrected is None


def test_contract_files_alone_are_enough(tmp_path):
    """Without details and with the bare lines that DESIGN promises, everything is still computed."""
    for number, beta in enumerate((0.1, 0.2)):
        run = write_run(tmp_path / str(number), config={"loss": {"beta": beta}}, after=(0.9 - number / 2, 0.0))
        summary = json.loads((run / "summary.json").read_text())
        write_json(run / "summary.json", {key: value for key, value in summary.items() if key != "details"})
        keys = ("id", "style", "request", "before", "after", "teacher", "verdict_before", "verdict_after", "verdict_teacher")
        rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
        write_json_lines(run / "samples.jsonl", [{key: row[key] for key in keys} for row in rows])
    board = leaderboard(read_runs([tmp_path]))
    assert board.best.interval is not None and board.entries[1].p_corrected < 0.001
    checked(compare_html(board))


def test_verdicts_are_read_past_any_text(tmp_path):
    text = 'x", "verdict_after": "modern", "request": "y" \\" \\\\ \u2028 \n {"style": "none"}'
    made = [answer(0, "chosun", "joseon", text=text, request=text), answer(1, None, "modern", text=text)]
    write_json_lines(tmp_path / "samples.jsonl", sample_rows({"after": made}))
    expected = [(text, "chosun", "joseon"), (made[1].request, None, "modern")]
    assert verdicts(tmp_path / "samples.jsonl") == expected
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().split("\n")[:-1]]
    rows[1]["nested"] = {"style": "none"}  # the patterns match twice in this line: it is parsed instead
    write_json_lines(tmp_path / "samples.jsonl", rows)
    assert verdicts(tmp_path / "samples.jsonl") == expected
    assert verdicts(tmp_path / "nothing.jsonl") == []


def test_settings_are_read_section_by_section_as_a_whole(tmp_path):
    value = {
        "seed": 1,
        "loss": {"beta": 0.3, "tags": ["가", "나"], "empty": {}},
        "note": "둘째\n줄: 하나\n\n끝",
        "none": None,
        "styles": {"rule": "길고 긴 글. " * 30, "quote": "a: 'b' \"c\" # d"},
    }
    path = tmp_path / "config.yaml"
    for text in (
        yaml.safe_dump(value, allow_unicode=True),
        "# a comment\n" + yaml.safe_dump(value, allow_unicode=True, sort_keys=False),
        json.dumps(value),
        "---\n" + yaml.safe_dump(value),
        "base: &base {beta: 0.3}\nloss: *base\n",
    ):
        path.write_text(text, encoding="utf-8")
        assert read_settings(path, print) == flattened(yaml.safe_load(text))
    heard = []
    path.write_text("a: [1\n")
    assert read_settings(path, heard.append) == {} and "config.yaml" in heard[0]
    assert read_settings(tmp_path / "nothing.yaml", heard.append) == {}


def test_half_written_runs_are_no_obstacle(tmp_path):
    write_run(tmp_path / "0")
    torn = write_run(tmp_path / "1", status="running")
    (torn / "metrics.jsonl").write_text('{"step": 1, "train/loss": 2.0}\n{"step": 2, "tra')
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "run.json").write_text("{")
    write_json(write_run(tmp_path / "3") / "run.json", {"status": "completed", "target": "x"})  # evaluate.py's
    board = leaderboard(read_runs([tmp_path, tmp_path / "0"]))
    assert sorted((run.directory.name, run.status) for run in board.runs) == [("0", "completed"), ("1", "interrupted"), ("2", "unreadable")]
    assert read_run(torn).steps == 1
    checked(compare_html(board))


def test_pareto_front_by_hand():
    assert pareto([1, 2, 3, 4, 2], [0.5, 0.4, 0.9, 0.9, 0.6]) == [True, False, True, False, True]
    assert pareto([], []) == []


def test_csv_has_a_row_per_run_with_its_command(sweep):
    board = leaderboard(read_runs([sweep]))
    rows = list(csv.DictReader(leaderboard_csv(board).splitlines()))
    assert len(rows) == 8 and list(rows[0])[:5] == ["rank", "status", "loss.beta", "loss.lmbda", "seed"]
    by_directory = {row["directory"]: row for row in rows}
    for run in board.runs:
        row = by_directory[str(run.directory)]
        assert shlex.split(row["command"]) == ["python", "train.py", f"reproduce={run.directory}"]
        assert row["margin"] == ("" if run.status != "completed" else str(run.after["margin"]))
        assert row["reason"] == (run.reason or "")


def test_page_is_whole_and_shows_what_is_asked_for(sweep):
    html = compare_html(leaderboard(read_runs([sweep])))
    text = checked(html)
    for words in ("Heatmap", "Curves", "Margin against tokens", "NonFinite: loss is nan at step 31", "reproduce=", "teacher"):
        assert words in text, words
    assert html.count('class="band"') >= 4 and html.count('class="cell"') == 4


def test_page_without_variation_or_results(tmp_path):
    write_run(tmp_path / "0", status="failed", reason="out of memory")
    text = checked(compare_html(leaderboard(read_runs([tmp_path]))))
    assert "out of memory" in text and "Heatmap" not in text


def test_terminal_says_how_the_sweep_ended(sweep):
    console = Console(width=80, record=True, file=io.StringIO())
    print_leaderboard(leaderboard(read_runs([sweep])), console)
    text = " ".join(console.export_text().split())
    assert "8 runs: 6 completed, 1 failed, 1 interrupted. Varied: loss.beta, loss.lmbda." in text
    assert "NonFinite: loss is nan at step 31" in text and "# beta lmbda margin" in text


def test_command_writes_where_it_is_told(sweep, tmp_path, capsys):
    assert main([str(sweep / "2026-11-21"), str(sweep / "2026-11-22"), "--output", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"leaderboard.csv", "compare.html"}
    assert "8 runs" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing"), str(tmp_path / "neither")]) == 2
    assert capsys.readouterr().err.count("no such directory") == 2
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2 and list((tmp_path / "empty").iterdir()) == []


def test_a_hundred_runs_take_little(tmp_path):
    """benchmarks/compare_1000.py times a thousand of real size; here, that nothing grows faster than their number."""
    template = write_run(tmp_path / "template", requests=64)
    texts = {path.name: path.read_text() for path in template.iterdir()}
    for number in range(100):
        directory = tmp_path / "runs" / str(number)
        directory.mkdir(parents=True)
        for name, text in texts.items():
            text = text.replace("beta: 0.3", f"beta: {number % 20}").replace("seed: 0", f"seed: {number // 20}")
            (directory / name).write_text(text)
    start = time.process_time()
    board = compare([tmp_path / "runs"], tmp_path / "out")
    assert len(board.entries) == 20 and time.process_time() - start < 8


def test_what_happened_before_a_run_completed_is_told(tmp_path):
    write_run(tmp_path / "0", config={"loss": {"beta": 0.1}})
    run = write_run(tmp_path / "1", config={"loss": {"beta": 0.2}})
    state = json.loads((run / "run.json").read_text())
    again = {"from_step": 20, "status": "interrupted", "reason": "killed by SIGKILL"}
    write_json(run / "run.json", state | {"resumes": [again]})
    write_run(tmp_path / ".failed" / "1.1", status="failed", reason="NonFinite: loss")
    board = leaderboard(read_runs([tmp_path]))
    assert len(board.runs) == 2 and [run.directory.name for run in board.mended] == ["1"]
    expected = ["failed and run again: NonFinite: loss", "interrupted, went on from step 20: killed by SIGKILL"]
    assert board.mended[0].history == expected
    assert "; ".join(expected) in leaderboard_csv(board) and expected[0] in checked(compare_html(board))


def test_publishing_leaves_one_wandb_run_with_table_heatmap_and_page(sweep, tmp_path, capsys, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    assert main([str(sweep / "2026-11-22"), "--output", str(tmp_path), "--wandb"]) == 0
    assert "wandb sync" in capsys.readouterr().out
    (path,) = wandb_files(tmp_path)
    told = read_wandb_file(path)
    assert (told.job_type, told.group, told.tags) == ("compare", "10-00-00", ["compare"])
    assert told.summary["runs/completed"] == 5 and told.summary["best/margin"] == pytest.approx(0.98, abs=0.05)
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


def test_charts_are_files_of_their_own(sweep):
    chart = line_chart([Curve("β 0.3 & <more>", [0, 1], [0.1, 0.9])], title="Margin <live>", y_label="share")
    for text in (chart.file(), heatmap(leaderboard(read_runs([sweep]))).file()):
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg") and "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "β 0.3 &amp; &lt;more&gt;" in chart.file()


def test_the_axes_of_a_published_heatmap_are_ordered_by_size():
    grid = [{"a": a, "b": b} for a in (2, 16) for b in (8, 16)]
    runs = [RunRecord(Path("/r"), "completed", None, {}, settings, {"after": {"margin": 0.5}}, []) for settings in grid]
    ticks = [text.text for text in ElementTree.fromstring(heatmap(leaderboard(runs)).file()).iter() if text.get("class") == "tick"]
    assert ticks == ["8", "16", "2", "16"]


def test_an_output_that_cannot_be_made_is_named(tmp_path, capsys):
    write_run(tmp_path / "0", status="failed")
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "0"), "--output", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"--output {tmp_path / 'file'}: cannot be made: File exists\n"
