"""The documentation's site, as `make docs` builds it: every page is reached, in two languages, and nothing is loaded from elsewhere."""

import re
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest

pytestmark = pytest.mark.docs
PROJECT = Path(__file__).resolve().parents[2]
IN_BOTH = ("index.html", "tutorial.html", "your_gpu.html", "faq.html")


@pytest.fixture(scope="module")
def site() -> Path:
    done = subprocess.run([sys.executable, "docs/build.py"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip().splitlines()[-1]).parent


class Page(HTMLParser):
    """What a page links to, what it loads, its language and its ids."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loads, self.ids, self.language = [], [], set(), None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.language = given.get("lang") if tag == "html" else self.language
        self.ids.add(given.get("id"))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "alternate", "prev", "next"):
            self.loads.append(given.get("href"))
        elif given.get("src"):
            self.loads.append(given["src"])


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_every_page_is_there_in_its_language(site):
    for name in IN_BOTH:
        assert Page(site / name).language == "en" and Page(site / "ko" / name).language == "ko"
    sources = {path.relative_to(PROJECT / "docs").with_suffix(".html") for path in (PROJECT / "docs").rglob("*.md")}
    assert {site / name for name in sources} <= set(pages(site))
    for name in ("settings", "options", "commands", "code"):
        assert (site / f"reference/{name}.html").is_file()


def test_no_link_is_dead(site):
    found = pages(site)
    dead = []
    for path, page in found.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if ":" in target or (not target and not anchor):
                continue
            place = (path.parent / unquote(target)).resolve() if target else path
            place = place / "index.html" if place.is_dir() and (place / "index.html").exists() else place
            known = found[place].ids if place in found else None
            if not place.exists() or (anchor and known is not None and unquote(anchor) not in known):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert dead == []


def test_nothing_is_loaded_from_elsewhere(site):
    for path, page in pages(site).items():
        assert [name for name in page.loads if re.match(r"(https?:)?//", name or "")] == [], path
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_the_reference_is_that_of_the_code(site):
    settings = (site / "reference/settings.html").read_text(encoding="utf-8")
    assert "<code>loss.beta</code>" in settings and "KL(teacher || student)" in settings
    assert "python -m gold_style.new" in (site / "reference/commands.html").read_text(encoding="utf-8")
    assert "gold_style.losses.divergence" in (site / "reference/code.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["index.html", "ko/faq.html", "concepts/losses.html", "reference/settings.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_in_the_browser(browser, address, name, width, scheme):
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/{name}")
    page.wait_for_load_state("networkidle")
    assert said == [] and [url for url in asked if not url.startswith(address)] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) > 380) == (scheme == "light")
    assert all(page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 0)"))
    page.close()


@pytest.mark.parametrize(("word", "expected"), [("collapse", "start_and_collapse"), ("어휘", "ko/faq")])
def test_a_word_is_found_without_a_mouse(browser, address, word, expected):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{address}/index.html")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("/")
    page.keyboard.type(word)
    page.wait_for_timeout(1500)
    assert page.locator(f'a[href*="{expected}"]').count() > 0
    page.close()
