"""report.html and compare.html in a real browser: no console message, no request, readable, sortable.

Run by make test-browser, with Playwright's own browser or a Chromium that the system has.
"""

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from run_files import write_run

from gold_style.compare import compare
from gold_style.show.report import write_report

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
        write_run(
            root / str(number),
            config=config,
            after=(0.99 - 0.05 * number, 0.02),
            status="failed" if number == 5 else "completed",
        )
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
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )  # nothing sticks out
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
    assert ranks() == [str(number) for number in range(1, 12)] + ["–"]
    heading = page.locator("table.board button.sort", has_text="#")
    heading.click()
    assert ranks() == [str(number) for number in range(1, 12)] + ["–"]
    heading.click()
    assert [rank for rank in ranks() if rank != "–"] == [str(number) for number in range(11, 0, -1)]
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
