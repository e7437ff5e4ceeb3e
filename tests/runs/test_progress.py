"""The bars of a run on a terminal of 80 columns: nothing is cut, whatever is noted beside them."""

import os
import re
import subprocess
import sys

from rich.cells import cell_len

RUN = """
import time
from gold_style.runs.progress import Progress
with Progress() as progress:
    progress.phase("student before", 416)(416, 416)
    tick = progress.phase("training", 1600, 0)
    for done in (1, 2, 3):
        time.sleep(0.15)
        tick(done, 1600, loss=0.0361, margin=-0.438)
    progress.phase("sweep", 144)(12, 144, **{f"job {number}": "40%" for number in (10, 11, 12)})
    progress.say("a line above the bars")
"""


def shown_on_a_terminal(code: str) -> list[str]:
    """What a terminal of 80 columns shows at the end, line by line, without colours."""
    master, slave = os.openpty()
    environment = os.environ | {"COLUMNS": "80", "LINES": "40", "TERM": "xterm"}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(master)
    assert child.wait(timeout=60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_an_eta_fits_beside_the_numbers():
    lines = shown_on_a_terminal(RUN)
    assert max(cell_len(line.rstrip()) for line in lines) <= 80 and not any("…" in line for line in lines)
    training = [line for line in lines if line.startswith("training")][-1]
    assert re.search(r"3/1600 ETA +\d+:\d\d\S* loss 0\.036  margin -0\.438", training), training
    assert any(re.match(r"student before .*416/416 +took 00:0", line) for line in lines)
    assert any(re.search(r"12/144 .*job 10 40%  job 11 40%  job 12 40%", line) for line in lines)
    assert "a line above the bars" in lines
