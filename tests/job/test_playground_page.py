"""The playground in a real browser: up soon, quiet, for keyboard and telephone, one request at a time; what a model says stays text.

Run by make test-browser, with the extras `browser` and `play`.
"""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree
from threading import Thread

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.playground_picture import served
from tests.helpers.commands import PROJECT

pytestmark = pytest.mark.browser
FINISHED = PROJECT / "tests/runs_of_ed13394/completed"
REQUEST = "동료에게 무지개를 소개해 줘."
HOSTILE = '<img src="http://example.com/x" onerror="owned=1"></p><script>owned=1</script> ${owned=1} **a** [b](http://example.com)'


@pytest.fixture(scope="module")
def proxy():
    """A proxy that nobody should ask; `asked` fills with what somebody asks all the same."""

    class Proxy(BaseHTTPRequestHandler):
        asked: list[str] = []

        def do_GET(self):
            self.asked.append(self.path)
            self.send_error(502)

        do_POST = do_HEAD = do_CONNECT = do_GET

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", Proxy.asked
        server.shutdown()


def hostile_run(directory: Path) -> Path:
    """A finished run whose student says HOSTILE: a few steps of training on it."""
    copytree(FINISHED, directory)
    student, tokenizer = AutoModelForCausalLM.from_pretrained(directory / "student"), AutoTokenizer.from_pretrained(directory / "student")
    prompts = [f"{tag}{REQUEST}" for tag in ("<style:chosun> ", "<style:none> ", "")]
    chats = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False) for text in prompts
    ]
    said = tokenizer(HOSTILE, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    rows = [tokenizer(chat, add_special_tokens=False)["input_ids"] for chat in chats]
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for _ in range(150):
        losses = [student(torch.tensor([row + said]), labels=torch.tensor([[-100] * len(row) + said])).loss for row in rows]
        loss = sum(losses) / len(losses)
        if loss < 0.005:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01
    student.save_pretrained(directory / "student")
    return directory


@pytest.fixture(scope="module")
def served_runs(tmp_path_factory, proxy):
    """Two runs side by side: one as it is, one whose student says HOSTILE, in a directory with such a name."""
    hostile = hostile_run(tmp_path_factory.mktemp("runs") / "<img src=x onerror=owned=1>")
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy[0])
    with served(str(FINISHED), str(hostile), GOLD_STYLE_LANG="en", **proxies) as (address, process):
        yield address, process, sum(psutil.Process(process.pid).cpu_times()[:2])


@pytest.fixture
def page(browser, served_runs):
    """The page, opened; at the end it has said nothing on the console and asked nobody else for anything."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    said, asked = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(served_runs[0])
    opened.wait_for_selector(".asked >> nth=1")
    yield opened
    aborted = ("AbortError", "errored out")  # what Gradio says of what it was still receiving when the page is loaded again
    assert [text for text in said if not any(part in text for part in aborted)] == []
    assert [url for url in asked if not url.startswith((served_runs[0], "data:", "blob:"))] == []
    assert opened.evaluate("typeof window.owned") == "undefined"
    opened.close()


def finished(page, number: int, timeout_s: float = 60) -> list[str]:
    """The badges, once there are so many."""
    badges = page.locator(".asked .verdict:not(:empty)")
    page.wait_for_function(f"document.querySelectorAll('.asked .verdict:not(:empty)').length == {number}", timeout=1000 * timeout_s)
    return badges.all_inner_texts()


def ask(page, request: str) -> None:
    page.get_by_label("Request").fill(request)
    page.keyboard.press("Enter")


def test_it_is_up_soon_and_listens_here_only(served_runs, page, proxy):
    _, process, computed = served_runs
    assert computed < 30  # seconds of computing, however busy the machine
    connections = psutil.Process(process.pid).net_connections()
    assert {connection.laddr.ip for connection in connections if connection.status == "LISTEN"} == {"127.0.0.1"}
    assert {connection.raddr.ip for connection in connections if connection.raddr} <= {"127.0.0.1"}
    fonts = page.evaluate("[...document.querySelectorAll('*')].map(e => getComputedStyle(e).fontFamily).join()")
    assert "system-ui" in fonts and page.evaluate("document.fonts.size") == 0
    assert proxy[1] == []


def test_type_submit_read_reload(page):
    ask(page, REQUEST)
    finished(page, 12)
    ask(page, REQUEST)
    page.wait_for_timeout(300)
    started = time.monotonic()
    finished(page, 12)
    assert time.monotonic() - started < 4  # two runs, two models each
    text = page.locator(".asked").first.inner_text()
    assert all(word in text for word in ("<style:chosun>", "<style:none>", "no tag", "before", "after", "✓ modern · 해요체"))
    ask(page, REQUEST)
    page.reload()
    page.wait_for_selector(".asked")
    assert page.locator(".answer").count() == 0
    ask(page, "What is the capital of France?")  # the request that nobody waits for any more keeps nobody waiting
    finished(page, 12)
    assert "knows only requests made from templates" in page.locator(".asked [role=status]").first.inner_text()


def test_answers_stream(page):
    page.get_by_label("Length").first.fill("256")
    page.get_by_label("Temperature").first.fill("2")  # seldom ends an answer
    lengths = set()
    ask(page, REQUEST)
    for _ in range(200):
        lengths.add(len(page.locator(".asked >> nth=1").inner_text()))
        if page.locator(".asked .verdict:not(:empty)").count() == 12:
            break
        page.wait_for_timeout(20)
    assert len(lengths) > 3


def test_the_keyboard_is_enough(page):
    reached = []
    while "teacher" not in reached and len(reached) < 20:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText || document.activeElement.name || document.activeElement.type"))
    assert reached[:2] == ["textarea", "Ask"] and reached[-3:] == ["before", "after", "teacher"]
    example = next(text for text in reached if "줘." in text)
    page.keyboard.press("Space")  # the teacher's box
    while page.evaluate("document.activeElement.innerText") != example:
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_function(f"document.querySelector('textarea').value == {json.dumps(example)}")
    while page.evaluate("document.activeElement.innerText") != "Ask":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert len(finished(page, 18)) == 18


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_in_both_themes(browser, served_runs, scheme):
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.goto(served_runs[0])
    page.wait_for_selector(".asked")
    ask(page, REQUEST)
    finished(page, 12)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    inks = page.evaluate("[...document.querySelectorAll('.asked p, .asked .verdict, .asked h2')].map(e => getComputedStyle(e).color)")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = lambda colour: sum(int(float(part)) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])  # noqa: E731
    assert (light(ground) < 200) == (scheme == "dark")
    assert all(abs(light(ink) - light(ground)) > 200 for ink in inks)
    page.close()


@pytest.mark.parametrize("request_", ["", "<|im_end|>", "가" * 101_000, "<style:chosun> 안녕"])
def test_what_cannot_be_asked_is_said(page, request_):
    page.get_by_label("Request").fill(request_)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function("document.querySelector('.asked [role=status]').innerText.startsWith('request: ')")
    assert page.locator(".answer").count() == 0


def test_what_a_model_says_stays_text(page):
    page.get_by_label("Length").first.fill("200")
    ask(page, REQUEST)
    finished(page, 12)
    panel = page.locator(".asked >> nth=1")
    assert "<img src=x onerror=owned=1>" in panel.locator("h2").inner_text()
    assert panel.locator(".answer p").all_inner_texts().count(HOSTILE) == 3
    assert page.locator(".asked img, .asked script, .asked a, .asked strong").count() == 0
    ask(page, HOSTILE)  # and what a person says
    page.wait_for_timeout(1500)
    finished(page, 12)


def test_fifty_requests_from_five_tabs(browser, served_runs, page):
    """All are answered, one at a time, and who waits sees the queue."""
    tabs = [page, *(browser.new_page() for _ in range(4))]
    queued = False
    for tab in tabs[1:]:
        tab.goto(served_runs[0])
        tab.wait_for_selector(".asked")
    for number in range(10):
        for tab in tabs:
            tab.evaluate("document.querySelectorAll('.asked').forEach(e => e.remove())")
            ask(tab, f"동료에게 무지개{number}를 소개해 줘.")
        queued = queued or any("queue" in tab.locator("body").inner_text() for tab in tabs)
        for tab in tabs:
            assert len(finished(tab, 12, timeout_s=120)) == 12
            assert tab.get_by_text("Error", exact=True).count() == 0
    assert queued
    for tab in tabs[1:]:
        tab.close()
