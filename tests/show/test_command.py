"""`python -m gold_style.report`: what it writes, prints and refuses."""

from gold_style.runs.terminal import exit_code
from gold_style.show.command import main


def test_command_draws_reports_again(run, tmp_path, capsys):
    assert main([str(run)]) == 0 and (run / "report.html").is_file()
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert exit_code(lambda: main([str(tmp_path)])) == 2 and "no run directory" in capsys.readouterr().err


def test_command_prints_markdown_and_writes_nothing(run, tmp_path, capsys):
    before = sorted(run.iterdir())
    assert main(["--markdown", str(run)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("| ") and "student after" in text and "| tag | " in text
    assert sorted(run.iterdir()) == before
    (tmp_path / "run.json").write_text("{}")
    assert main(["--markdown", str(tmp_path)]) == 0
    assert "no summary.json" in capsys.readouterr().out


def test_a_summary_that_cannot_be_read_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "summary.json").write_bytes(b"\xff\xfe")
    assert exit_code(lambda: main(["--markdown", str(tmp_path)])) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'summary.json'}: not a JSON object\n"
    (tmp_path / "summary.json").unlink()
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{bad\n')
    assert exit_code(lambda: main([str(tmp_path)])) == 2
    assert f"{tmp_path / 'metrics.jsonl'}:2:" in capsys.readouterr().err
