"""`python -m gold_style.compare`: what it writes, prints and refuses, and how long it takes."""

import time

from gold_style.comparison.command import compare, main
from gold_style.runs.terminal import exit_code
from tests.helpers.run_files import write_run


def test_command_writes_into_the_output(sweep, tmp_path, capsys):
    assert main([str(sweep / "2026-11-21"), str(sweep / "2026-11-22"), "--output", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"leaderboard.csv", "compare.html"}
    said = capsys.readouterr().out
    page = (tmp_path / "out" / "compare.html").as_uri()
    assert "8 runs" in said and said.splitlines()[-2].startswith("leader: beta 0.3, lmbda 0: margin 0.9")
    assert said.splitlines()[-1] == f"open the page: python -m webbrowser {page}"
    assert exit_code(lambda: main([str(tmp_path / "nothing"), str(tmp_path / "neither")])) == 2
    assert capsys.readouterr().err.count("no such directory") == 2
    (tmp_path / "empty").mkdir()
    assert exit_code(lambda: main([str(tmp_path / "empty")])) == 2 and list((tmp_path / "empty").iterdir()) == []


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


def test_an_output_that_cannot_be_made_is_named(tmp_path, capsys):
    write_run(tmp_path / "0", status="failed")
    (tmp_path / "file").write_text("")
    assert exit_code(lambda: main([str(tmp_path / "0"), "--output", str(tmp_path / "file")])) == 2
    assert capsys.readouterr().err == f"--output {tmp_path / 'file'}: cannot be made: File exists\n"
