"""Blind sheets: what raters see, what they must not, and what is read back from the files that they fill in."""

import csv
import io
import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest

from gold_style.measure.samples import sample_rows
from gold_style.opinions import annotate_command
from gold_style.opinions.labels import rater_labels
from gold_style.opinions.sheets import draw_sheet, harmless, sheet_html
from gold_style.runs.files import read_json, write_json_lines
from gold_style.runs.terminal import exit_code
from tests.helpers.pages import checked
from tests.helpers.rated_runs import CONFIG, PACK
from tests.helpers.run_files import answer, read_samples, write_run


def main(arguments: list[str]) -> int:
    """What the door `gold_style.annotate` exits with."""
    return exit_code(lambda: annotate_command.main(arguments))


@pytest.fixture
def run(tmp_path) -> Path:
    return write_run(tmp_path / "run", config=CONFIG, requests=40)


def key_of(run: Path) -> tuple[str, list[dict]]:
    """Name and items of the only sheet of a run."""
    ((name, sheet),) = read_json(run / "annotation_key.json")["sheets"].items()
    return name, sheet["items"]


def own_verdict(run: Path, entry: dict) -> str:
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    row = next(row for row in rows if (row["id"], row["style"]) == (entry["id"], entry["style"]))
    return row[f"verdict_{entry['models'][0]}"]


def saved(path: Path, sheet: str, ratings: list[dict], rater: str = "") -> Path:
    """A file as the page saves it: one rating a line."""
    lines = ",\n".join(f"    {json.dumps(rating, ensure_ascii=False)}" for rating in ratings)
    path.write_text(f'{{\n  "sheet": "{sheet}",\n  "rater": "{rater}",\n  "ratings": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
    return path


def filled(run: Path, rater: str, wrong: int = 0, directory: Path | None = None) -> Path:
    """A sheet filled in as our own verdicts have it, but for the first `wrong` items."""
    name, items = key_of(run)
    other = {"joseon": "modern", "modern": "joseon"}
    ratings = []
    for number, entry in enumerate(items):
        style = own_verdict(run, entry)
        style = other[style] if number < wrong else style
        ratings.append({"item": entry["item"], "style": style, "content": "yes", "fluency": 5 - number % 2})
    return saved((directory or run) / f"{rater}.json", name, ratings, rater)


def csv_rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def csv_text(rows: list[list[str]], delimiter: str = ",") -> str:
    output = io.StringIO(newline="")
    csv.writer(output, delimiter=delimiter).writerows(rows)
    return output.getvalue()


def test_a_sheet_is_blind_whole_and_asks_nothing_of_the_network(run, capsys):
    assert main([str(run), "--number", "30"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(run / "annotation.html"), str(run / "annotation.csv")]
    html, table = (run / "annotation.html").read_text(), (run / "annotation.csv").read_text()
    text = checked(html)
    name, items = key_of(run)
    assert len(items) == 30 and re.findall(r'data-item="(\d+)"', html) == [str(number) for number in range(1, 31)]
    for secret in ("chosun", "before", "after", "teacher", "student", "Qwen", str(run), run.name + "/"):
        assert secret not in table and secret not in text and secret not in re.sub(r"(?s)<(style|script)>.*?</\1>", "", html)
    assert len({(entry["style"], model) for entry in items for model in entry["models"]}) == 6
    assert [row[0] for row in csv_rows(run / "annotation.csv")[1:]] == [f"{name}-{number}" for number in range(1, 31)]


def test_the_key_knows_every_item(run):
    assert main([str(run), "--number", "50"]) == 0
    samples = read_samples(run)
    rows = {row[0].split("-")[1]: row for row in csv_rows(run / "annotation.csv")[1:]}
    for entry in key_of(run)[1]:
        for model in entry["models"]:
            texts = {a.text for a in samples[model] if (a.id, a.style) == (entry["id"], entry["style"])}
            assert texts == {rows[str(entry["item"])][2]}


def test_the_same_text_of_two_models_stands_there_once(run):
    same = [answer(0, "chosun", "joseon")]
    write_json_lines(run / "samples.jsonl", sample_rows({"before": None, "after": same, "teacher": same}))
    assert main([str(run)]) == 0
    assert [entry["models"] for entry in key_of(run)[1]] == [["after", "teacher"]]


def test_the_seed_draws_the_sheet(run):
    samples = read_samples(run)
    first, again, other = (draw_sheet(samples, PACK, 20, seed) for seed in (0, 0, 1))
    assert first == again and first.name != other.name and len(first.answers) == len(other.answers) == 20
    styles = [answer.style for answer in first.answers]
    assert styles not in (sorted(styles), sorted(styles, reverse=True)) and abs(styles.count("chosun") - 10) <= 2


def test_answers_cannot_break_out_of_the_page_or_compute_in_a_spreadsheet(run):
    nasty = [
        '</p></main><script>alert(1)</script><img src=x onerror="x">',
        '=HYPERLINK("x","y")',
        " \t@SUM(1)",
        "<style:chosun> 나비 일을 아뢰옵니다.",
        'a"b,c\nd',
        "",
        "\ud800",
        "</textarea>'\"&",
    ]
    samples = {"before": None, "after": [answer(n, "chosun", "joseon", text=t) for n, t in enumerate(nasty)], "teacher": None}
    write_json_lines(run / "samples.jsonl", sample_rows(samples))
    assert main([str(run)]) == 0
    html = (run / "annotation.html").read_text(encoding="utf-8")
    checked(html)
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html and "<img" not in html and "chosun" not in html
    rows = csv_rows(run / "annotation.csv")
    assert len(rows) == len(nasty) + 1 and all(len(row) == 6 for row in rows)
    assert not any(cell.lstrip()[:1] in ("=", "@", "+", "-") for row in rows for cell in row)
    assert 'a"b,c\nd' in [row[2] for row in rows] and harmless("가나") == "가나"


def test_two_raters_are_read_back(run, tmp_path, capsys):
    assert main([str(run), "--number", "60"]) == 0
    files = [filled(run, "kim", directory=tmp_path), filled(run, "lee", wrong=6, directory=tmp_path)]
    capsys.readouterr()
    assert main([str(run), "--read", *map(str, files)]) == 0
    found = read_json(run / "annotations.json")
    assert found["raters"] == {"kim": 60, "lee": 60} and found["items"] == 60
    items = key_of(run)[1]
    chosun = [n for n, e in enumerate(items) if e["style"] == "chosun" and "teacher" in e["models"]]
    right = [own_verdict(run, items[n]) == "joseon" for n in chosun]
    expected = sum(0.5 if n < 6 else float(hit) for n, hit in zip(chosun, right, strict=True)) / len(chosun)
    part = found["rates"]["teacher"]["chosun"]
    assert part["style_rate"] == pytest.approx(expected) and part["items"] == len(chosun)
    assert part["style_interval"][0] <= expected <= part["style_interval"][1]
    assert part["content"] == 1.0 and 4.0 <= part["fluency"] <= 5.0
    assert 0.5 < found["between_raters"]["style"] < 1.0 and found["between_raters"]["fluency"] == 1.0
    assert found["with_own_verdicts"]["style"] == {"alpha": 1.0, "equal": 1.0, "units": 54}  # six ties have no majority
    assert capsys.readouterr().out.splitlines()[-1] == str(run / "annotations.json")


def test_one_rater_and_half_a_sheet_are_read_with_a_warning(run, tmp_path, capsys):
    assert main([str(run), "--number", "12"]) == 0
    name, items = key_of(run)
    ratings = [{"item": 1, "style": "unclear"}, {"item": 2, "fluency": 3}]
    assert main([str(run), "--read", str(saved(tmp_path / "kim.json", name, ratings))]) == 0
    found = read_json(run / "annotations.json")
    assert found["raters"] == {"kim": 2} and found["between_raters"] == dict.fromkeys(("style", "content", "fluency"))
    assert "a single rater" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp949", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_is_read_as_it_was_saved(run, tmp_path, encoding, delimiter):
    assert main([str(run), "--number", "12"]) == 0
    rows = csv_rows(run / "annotation.csv")
    words = {"joseon": "조선", "modern": " Modern "}
    for row, entry in zip(rows[1:], key_of(run)[1], strict=True):
        row[3:] = [words[own_verdict(run, entry)], "예", "4"]
    rows[3][3:] = ["", "", ""]  # not rated
    path = tmp_path / "lee.csv"
    path.write_bytes(csv_text(rows, delimiter).encode(encoding))
    assert main([str(run), "--read", str(path)]) == 0
    found = read_json(run / "annotations.json")
    assert found["raters"] == {"lee": 11} and found["with_own_verdicts"]["style"]["equal"] == 1.0


def test_sheets_of_one_run_can_be_read_together(run, tmp_path):
    for seed in ("0", "1"):
        assert main([str(run), "--number", "6", "--seed", seed, "--output", str(tmp_path / seed / "sheet.html")]) == 0
    sheets = read_json(run / "annotation_key.json")["sheets"]
    files = [str(saved(tmp_path / f"{name}.json", name, [{"item": 1, "style": "joseon"}], "kim")) for name in sheets]
    assert len(sheets) == 2 and main([str(run), "--read", *files]) == 0
    assert read_json(run / "annotations.json")["items"] == 2


@pytest.mark.parametrize(
    ("ratings", "line", "reason"),
    [
        (
            [{"item": 1, "style": "joseon"}, {"item": 2, "style": "jeoson"}],
            6,
            "style 'jeoson' is not one of joseon, modern, unclear, not_korean; did you mean joseon?",
        ),
        ([{"item": 1, "fluency": 6}], 5, "fluency 6 is not one of 1, 2, 3, 4, 5"),
        ([{"item": 1, "content": True}], 5, "content True is not one of yes, no"),
        ([{"item": 99, "style": "joseon"}], 5, "item 99 is not on the sheet (1 to 12)"),
        ([{"item": 1, "style": "joseon"}, {"item": 1, "style": "modern"}], 6, "item 1 is in this file twice"),
        ([{"style": "joseon"}], 1, "item None is not on the sheet"),
        ([], 1, "holds no rating"),
    ],
)
def test_a_bad_rating_is_named_with_its_line(run, tmp_path, capsys, ratings, line, reason):
    assert main([str(run), "--number", "12"]) == 0
    path = saved(tmp_path / "kim.json", key_of(run)[0], ratings)
    capsys.readouterr()
    assert main([str(run), "--read", str(path)]) == 2
    assert f"{path}:{line}: {reason}" in capsys.readouterr().err and not (run / "annotations.json").exists()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.json", b'{"sheet": "x",\n "ratings": [', ":2: not JSON"),
        ("a.json", b"[1, 2]", ":1: not a filled sheet"),
        ("a.json", b'{"sheet": "feedfeedfeed", "ratings": [{"item": 1}]}', "was not written for this run"),
        ("a.csv", b"name,value\n1,2\n", ":1: no column item, style, content, fluency"),
        ("a.csv", "item,style,content,fluency\n7,조선,예,3\n".encode(), ":2: item '7' is no item of a sheet"),
        ("a.csv", b"", ":1: holds no rating"),
        ("a.csv", b"item\n\xff\xff\xff", ":2: is neither UTF-8 nor CP949"),
        ("gone.csv", None, ":1: cannot be read"),
    ],
)
def test_a_bad_file_is_named(run, tmp_path, capsys, name, data, reason):
    assert main([str(run), "--number", "12"]) == 0
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    capsys.readouterr()
    assert main([str(run), "--read", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said and reason in said


def test_a_line_of_a_csv_counts_lines_inside_cells(run, tmp_path, capsys):
    assert main([str(run), "--number", "12"]) == 0
    rows = csv_rows(run / "annotation.csv")
    rows[1][2] = "첫 줄\n둘째 줄"
    rows[2][3:] = ["조선", "아마", "3"]
    path = tmp_path / "kim.csv"
    path.write_text(csv_text(rows), encoding="utf-8-sig", newline="")
    capsys.readouterr()
    assert main([str(run), "--read", str(path)]) == 2
    assert f"{path}:4: content '아마' is not one of yes, no" in capsys.readouterr().err


def test_every_mistake_of_every_file_is_said_at_once(run, tmp_path, capsys):
    assert main([str(run), "--number", "12"]) == 0
    name, _ = key_of(run)
    first = saved(tmp_path / "kim.json", name, [{"item": 1, "style": "x"}, {"item": 2, "fluency": 0}])
    second = saved(tmp_path / "lee.json", name, [{"item": 77}])
    capsys.readouterr()
    assert main([str(run), "--read", str(first), str(second)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_rater_cannot_count_twice(run, tmp_path, capsys):
    assert main([str(run), "--number", "12"]) == 0
    path = filled(run, "kim", directory=tmp_path)
    copy = Path(shutil.copy(path, tmp_path / "copy.json"))
    assert main([str(run), "--read", str(path), str(copy)]) == 2
    assert f"{copy}:5: 'kim' rates item 1 in {path} too" in capsys.readouterr().err


def test_other_samples_than_those_rated_are_refused(run, tmp_path, capsys):
    assert main([str(run), "--number", "12"]) == 0
    path = filled(run, "kim", directory=tmp_path)
    text = (run / "samples.jsonl").read_text().replace("나비", "나방")
    (run / "samples.jsonl").write_text(text)
    assert main([str(run), "--read", str(path)]) == 2
    assert "no longer holds the answer that was rated" in capsys.readouterr().err


def test_reading_without_a_key_is_refused(run, tmp_path, capsys):
    assert main([str(run), "--read", str(tmp_path / "x.json")]) == 2
    assert "annotation_key.json: not there" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--number", "0"], ["--output", "sheet.txt"]])
def test_wrong_options_are_named(run, wrong, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(run), *wrong])
    assert caught.value.code == 2 and wrong[0] in capsys.readouterr().err


@pytest.mark.browser
def test_the_page_in_a_browser(run, tmp_path, browser):
    sheet = draw_sheet(read_samples(run), PACK, 3, 0)
    path = tmp_path / "sheet.html"
    path.write_text(sheet_html(sheet, rater_labels(PACK)), encoding="utf-8")
    page, said, asked = browser.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    for number in (1, 2):
        for question, value in (("style", "joseon"), ("content", "yes"), ("fluency", "4")):
            page.locator(f"input[name={question}-{number}][value='{value}']").check()
    assert page.locator("#progress").inner_text() == "2 / 3"
    page.reload()
    assert page.locator("#progress").inner_text() == "2 / 3"  # kept
    page.locator("#save").click()
    assert "이름" in page.locator("#said").inner_text()
    page.locator("#rater").fill("김 철수")
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(tmp_path / "kim.json")
    assert download.value.suggested_filename == f"annotation_{sheet.name}_김_철수.json"
    page.close()
    assert said == [] and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    found = json.loads((tmp_path / "kim.json").read_text(encoding="utf-8"))
    assert (found["sheet"], found["rater"]) == (sheet.name, "김 철수")
    assert found["ratings"] == [{"item": n, "style": "joseon", "content": "yes", "fluency": 4} for n in (1, 2)]
    assert unescape(sheet.answers[0].text) in unescape(path.read_text(encoding="utf-8"))
