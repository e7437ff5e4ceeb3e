"""Speech level of each input line: exactly one JSON object per line, blank lines included, and nothing else on stdout.

python -m gold_style.speech < lines.txt
python -m gold_style.speech --backend kiwi < lines.txt
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from gold_style.runs.terminal import run_command
from gold_style.speech import BACKENDS, classify


def main(argv: list[str] | None = None) -> int:
    """Read UTF-8 lines from stdin (BOM and CRLF tolerated, bad bytes become U+FFFD); 2: the backend or stdin is missing."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.speech", description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, default="rules", help="kiwi needs: pip install 'gold-style[kiwi]'")
    backend = parser.parse_args(argv).backend
    try:
        classify("가나", backend)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if sys.stdin is None:
        print("stdin is closed; lines are read from it", file=sys.stderr)
        return 2
    for number, raw in enumerate(sys.stdin.buffer):
        line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
        speech = classify(line.removeprefix("\ufeff") if number == 0 else line, backend)
        sys.stdout.buffer.write(json.dumps(asdict(speech), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    return 0


if __name__ == "__main__":
    run_command(main)
