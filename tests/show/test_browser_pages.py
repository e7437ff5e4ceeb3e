"""The pages in a real browser: no console message, no request, readable, sortable; and no script out of a model's mouth.

Run by make test-browser, with a Chromium that the system has, else Playwright's own.
"""

import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from gold_style.comparison.command import compare
from gold_style.measure.samples import sample_rows
from gold_style.measure.summary import run_summary
from gold_style.opinions.annotate_command import main as annotate
from gold_style.runs.files import write_json, write_json_lines
from gold_style.show.report import write_report
from tests.helpers.run_files import READING, TOGGLE, answer, write_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """A directory with a report and a comparison."""
    root = tmp_path_factory.mktemp("pages")
    for number in range(12):
        config = {"loss": {"beta": number % 4 / 4, "lmbda": number // 4 / 2}}
        write_run(root / str(number), config=config, after=(0.99 - 0.05 * number, 0.02), status="failed" if number == 5 else "completed")
    write_json_lines(root / "0" / "readings.jsonl", [READING | {"tokens": [["달은 ", 0.0, "달은 "], ["밝" * 30, 1.5, "높"]]}])
    write_report(root / "0")
    write_report(root / "3")  # some of its answers are failures
    compare([root], root)
    return root


def opened(browser, address: str, scheme: str = "light", width: int = 1280):
    """A page, what its console said, and what it asked of the network beyond the document itself."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    return page, said, [url for url in asked if url != address and not url.startswith("data:")]


@pytest.mark.parametrize("name", ["0/report.html", "compare.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_are_quiet_and_readable(browser, pages, name, scheme, width):
    page, said, asked = opened(browser, (pages / name).as_uri(), scheme, width)
    assert said == [] and asked == []
    colours = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    text, ground = ([int(part) for part in colour[4:-1].split(",")[:3]] for colour in colours)
    assert abs(sum(text) - sum(ground)) > 450 and (sum(ground) < 200) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")  # nothing sticks out
    assert page.locator("svg").count() >= 3 and page.locator("svg").first.bounding_box()["height"] > 100
    texts = [text.bounding_box() for text in page.locator("figure svg text").all() if text.is_visible()]
    assert len(texts) > 20 and min(max(box["height"], box["width"]) for box in texts) > 4 and min(box["height"] for box in texts) > 8
    page.close()


@pytest.mark.parametrize("name", ["0/report.html", "compare.html"])
def test_the_first_screen_says_all_that_matters(browser, pages, name):
    page, *_ = opened(browser, (pages / name).as_uri())
    bottom = page.locator(".numbers").bounding_box()
    assert bottom["y"] + bottom["height"] < 600
    assert page.locator(".large").count() == 3 and page.locator(".large").first.inner_text().endswith("%")
    assert "earned" in page.locator(".conclusion").inner_text()
    page.close()


@pytest.mark.parametrize("name", ["0/report.html", "compare.html"])
def test_a_page_can_be_used_by_keyboard_only_and_in_korean(browser, pages, name):
    page, said, asked = opened(browser, (pages / name).as_uri())

    def press_until(selector: str, most: int = 60) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", selector  # one sees where one is
                return
        raise AssertionError(f"{selector} is not reached by Tab")

    press_until("nav summary")
    page.keyboard.press("Enter")
    press_until("nav a")
    page.keyboard.press("Enter")
    assert "#" in page.url
    page.evaluate("document.querySelector('nav details').open = false; document.activeElement.blur(); scrollTo(0, 0)")
    page.keyboard.press("Home")
    page.locator("#language").focus()
    english = page.locator(".conclusion").inner_text()
    page.keyboard.press("Enter")
    korean = page.locator(".conclusion").inner_text()
    assert korean != english and re.search("[가-힣]", korean) and page.evaluate("document.documentElement.lang") == "ko"
    assert re.search("[가-힣]", page.locator("figcaption").first.inner_text()) and page.locator("#language").inner_text() == "English"
    page.keyboard.press("Enter")
    assert page.locator(".conclusion").inner_text() == english
    assert said == [] and asked == []
    for control in page.locator("button, input, select, summary, a, svg").all():
        named = "e => (e.getAttribute('aria-label') || e.closest('label')?.innerText || e.innerText || '').trim()"
        assert not control.is_visible() or control.evaluate(named), control.evaluate("e => e.outerHTML")[:200]
    page.close()


def test_answers_are_filtered_by_keyboard(browser, pages):
    page, said, _ = opened(browser, (pages / "3/report.html").as_uri())
    samples = page.locator("#answers-side-by-side .sample:not([hidden])")
    count = lambda: page.locator("#filter output").inner_text()  # noqa: E731
    whole = int(count().split("/")[1])
    assert samples.count() == 6 < whole == 64
    page.locator("#filter [name=all]").focus()
    page.keyboard.press("Space")
    assert samples.count() == whole
    page.locator("#filter [name=text]").focus()
    page.keyboard.type("나비1 ")
    assert 0 < samples.count() < whole and "나비1 " in samples.first.inner_text()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.locator("#filter [name=tag]").focus()
    page.keyboard.press("ArrowDown")
    assert {row.inner_text() for row in page.locator("[data-tag]:not([hidden]) > code").all()} == {"<style:chosun>"}
    page.locator("#filter [name=failures]").focus()
    page.keyboard.press("Space")
    failures = samples.count()
    assert 0 < failures < whole and all(
        "failed" in row.evaluate("e => Object.keys(e.dataset)")
        for row in page.locator("#answers-side-by-side [data-tag]:not([hidden])").all()
    )
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible() and page.locator(".conclusion").is_visible()
    assert said == []
    page.close()


def test_runs_are_reached_from_the_comparison(browser, pages):
    page, said, _ = opened(browser, (pages / "compare.html").as_uri())
    page.locator("table.board a").first.click()
    page.wait_for_load_state()
    assert page.url.endswith("/0/report.html") and page.locator(".conclusion").is_visible() and said == []
    page.close()


def test_served_pages_ask_for_nothing_else(browser, pages):
    class Quiet(SimpleHTTPRequestHandler):
        asked: list[str] = []

        def log_message(self, *arguments):
            self.asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pages))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page, said, _ = opened(browser, f"http://127.0.0.1:{server.server_port}/compare.html")
        page.close()
        server.shutdown()
    assert said == [] and Quiet.asked == ["/compare.html"]  # not even an icon


def test_leaderboard_sorts_and_filters(browser, pages):
    page, said, _ = opened(browser, (pages / "compare.html").as_uri())
    rows = page.locator("table.board tbody tr")
    ranks = lambda: [row.split("\t")[0] for row in rows.all_inner_texts()]  # noqa: E731
    ranked = [str(number) for number in range(1, 1 + sum(rank != "–" for rank in ranks()))]
    assert 6 <= len(ranked) < 12  # what has not learned the style has no rank
    in_order = ranked + ["–"] * (12 - len(ranked))
    assert ranks() == in_order
    heading = page.locator("table.board button.sort", has_text="#")
    heading.click()
    assert ranks() == in_order
    heading.click()
    assert [rank for rank in ranks() if rank != "–"] == ranked[::-1]
    page.locator("table.board button.sort", has_text="beta").click()
    betas = [row.split("\t")[1] for row in rows.all_inner_texts()]
    assert betas == sorted(betas, key=float)
    page.locator("input[type=search]").fill("0.25 0.5")
    shown = [row for row in rows.all() if row.is_visible()]
    assert 0 < len(shown) < 12
    assert said == []
    page.close()


def test_pages_fit_a_telephone(browser, pages):
    for name in ("0/report.html", "compare.html"):
        page = browser.new_page(viewport={"width": 360, "height": 800})
        page.goto((pages / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.close()


HOSTILE = (
    "</script><script>owned = 1</script>",
    '<img src="http://example.com/x.png" onerror="owned = 1">',
    "<svg/onload=owned=1>",
    "<svg><script>owned=1</script></svg>",
    "<iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    "</style><style>@import url(http://example.com/x.css); body { display: none }</style>",
    "</title></textarea></template><script>owned = 1</script>",
    "<!-- <script>owned = 1</script>",
    "]]><script>owned = 1</script>",
    '" onmouseover="owned = 1" autofocus onfocus="owned = 1" x="',
    "' onclick='owned = 1' '",
    "javascript:owned=1",
    '<base href="http://example.com/"><a href="javascript:owned=1">여기</a>',
    '<meta http-equiv="refresh" content="0;url=http://example.com/">',
    "<math><mtext><style><img src=x onerror=owned=1></style></mtext></math>",
    "{{constructor.constructor(1)()}}",
    "${owned = 1}",
    "\\u003cscript\\u003eowned = 1\\u003c/script\\u003e",
    "line\u2028separator\u2029`${owned = 1}`",
    "<link rel=stylesheet href=//example.com/x>",
    "<form action=http://example.com><input name=x autofocus onfocus=owned=1></form>",
    "<object data=data:text/html,x></object>",
)


def hostile_run(directory: Path, text: str, other: str) -> None:
    """A run in which a model, a data set, a machine and an error say `text`."""
    config = {"note": text, text: other, "loss": {"kind": other, "beta": text, "lmbda": 1.0}, "model": {"name": text, "student": text}}
    write_run(directory, config=config, requests=2, device=text, command=text, reason=text, started=text)
    answers = [
        answer(number, tag, "joseon", text=f"{text} {number}", request=f"{other} {number}", topic=text, level=other)
        for number in range(3)
        for tag in ("chosun", "none")
    ]
    samples = {"before": answers, "after": [answer(9, "chosun", "modern", text=text, request=other), *answers], "teacher": answers}
    write_json_lines(directory / "samples.jsonl", sample_rows(samples))
    summary = run_summary(samples, TOGGLE, steps=1, train_seconds=1, status="completed", bootstrap_samples=20)
    write_json(directory / "summary.json", summary | {"status": text})
    reading = {"style": text, "request": other, "student_reads": text, "teacher_reads": other, "tokens": [[text, 2.0, other]]}
    write_json_lines(directory / "readings.jsonl", [reading])


@pytest.fixture(scope="module")
def hostile_pages(tmp_path_factory) -> list[Path]:
    """A report for each hostile text, and a comparison and an annotation sheet of all of them."""
    root = tmp_path_factory.mktemp("hostile")
    found = []
    for number, text in enumerate(HOSTILE):
        hostile_run(root / str(number), text, HOSTILE[number - 1])
        found.append(write_report(root / str(number)))
    compare([root], root)
    return [*found, root / "compare.html"]


def checked_page(browser, address: str) -> None:
    page, said, asked = opened(browser, address)
    assert said == [] and asked == [], address
    for target in ("button, summary, th, td, a, label", "input, select, textarea"):  # as a reader would
        for element in page.locator(target).all()[:40]:
            if element.is_visible():
                element.hover(timeout=2000, force=True)
    page.keyboard.press("Tab")
    assert page.evaluate("typeof window.owned") == "undefined", address
    assert (
        page.evaluate("document.querySelectorAll('iframe, object, base, form[action], img[src^=http], meta[http-equiv=refresh]').length")
        == 0
    )
    assert page.locator("body").is_visible() and page.url == address
    assert said == [], address
    page.close()


@pytest.mark.parametrize("number", range(len(HOSTILE) + 1))
def test_what_a_model_says_stays_text(browser, hostile_pages, number):
    checked_page(browser, hostile_pages[number].as_uri())


def test_what_a_model_says_stays_text_on_an_annotation_sheet(browser, tmp_path):
    hostile_run(tmp_path / "run", HOSTILE[0], HOSTILE[1])
    rows = [
        row
        for number, text in enumerate(HOSTILE)
        for row in sample_rows(
            {"after": [answer(number, tag, "joseon", text=text, request=HOSTILE[-number]) for tag in ("chosun", "none")]}
        )
    ]
    write_json_lines(tmp_path / "run" / "samples.jsonl", rows)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    pack = yaml.safe_load((Path(__file__).parents[2] / "conf/styles/joseon.yaml").read_text(encoding="utf-8"))
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config | {"styles": pack | {"few_shots": 0}}, allow_unicode=True))
    assert annotate([str(tmp_path / "run"), "--output", str(tmp_path / "sheet.html")]) == 0
    checked_page(browser, (tmp_path / "sheet.html").as_uri())
