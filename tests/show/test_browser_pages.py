"""The pages in a real browser: no console message, no request, readable, sortable; and no script out of a model's mouth.

Run by make test-browser, with a Chromium that the system has, else Playwright's own.
"""

import shutil
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
from tests.helpers.run_files import TOGGLE, answer, write_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright  # the browser extra; no other test needs it

    system = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """A directory with a report and a comparison."""
    root = tmp_path_factory.mktemp("pages")
    for number in range(12):
        config = {"loss": {"beta": number % 4 / 4, "lmbda": number // 4 / 2}}
        write_run(root / str(number), config=config, after=(0.99 - 0.05 * number, 0.02), status="failed" if number == 5 else "completed")
    write_report(root / "0")
    compare([root], root)
    return root


def opened(browser, address: str, scheme: str = "light"):
    """A page, what its console said, and what it asked of the network beyond the document itself."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    return page, said, [url for url in asked if url != address and not url.startswith("data:")]


@pytest.mark.parametrize("name", ["0/report.html", "compare.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_quiet_and_readable(browser, pages, name, scheme):
    page, said, asked = opened(browser, (pages / name).as_uri(), scheme)
    assert said == [] and asked == []
    colours = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    text, ground = ([int(part) for part in colour[4:-1].split(",")[:3]] for colour in colours)
    assert abs(sum(text) - sum(ground)) > 450 and (sum(ground) < 200) == (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")  # nothing sticks out
    assert page.locator("svg").count() >= 3 and page.locator("svg").first.bounding_box()["height"] > 100
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
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto((pages / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
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
    config = {"note": text, text: other, "loss": {"beta": text, "lmbda": 1.0}}
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
