"""The picture of the playground in docs/: the page answers one request, in a real browser.

python benchmarks/playground_picture.py RUN [RUN]       # writes docs/images/playground.png; needs make browser
"""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PICTURE = PROJECT / "docs/images/playground.png"
SIZE = {"width": 1280, "height": 800}


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """`python -m gold_style.play ARGUMENTS`, until the end of the with block: the page's address, and the process."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **environment}
    command = [sys.executable, "-m", "gold_style.play", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                    threading.Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would stop it
                    yield address[0], process
                    return
            raise RuntimeError(f"no page: {''.join(said)}")
        finally:
            process.terminate()


@contextmanager
def opened_browser() -> Iterator:
    """The system's Chromium, else Playwright's own."""
    from playwright.sync_api import sync_playwright  # the extra `browser`

    system = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        yield browser
        browser.close()


def main(arguments: list[str]) -> None:
    with served(*arguments, "--teacher", GOLD_STYLE_LANG="en") as (address, _), opened_browser() as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(address)
        page.locator(".gallery-item").nth(3).click()
        page.get_by_role("button", name="Ask", exact=True).click()
        page.wait_for_function("document.querySelectorAll('.asked .answer .verdict:not(:empty)').length >= 9", timeout=120_000)
        page.wait_for_timeout(500)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURE, full_page=True)
    print(PICTURE)


if __name__ == "__main__":
    main(sys.argv[1:])
