"""Begin something of your own: `python -m gold_style.new style NAME --from village` writes a style pack that runs at once.

Writes conf/styles/NAME.yaml into the working directory: a copy of a pack that comes with the project, under its own name and tag, with
comments on what to change. train.py finds it by its name. docs/tutorial.md goes through one from beginning to end.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

from gold_style import PROJECT
from gold_style.runs.terminal import run_command
from gold_style.styles import SHIPPED, one_of
from gold_style.verdicts import RESERVED

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")  # a file, an option on the command line, a tag and a verdict at once
WORDS = ("null", "true", "false", "yes", "no", "on", "off", "inf", "nan")  # which YAML or Hydra read as something else
TAKEN = (*SHIPPED, *RESERVED, "modern", "none", "plain")  # packs, and verdicts and tags that a copy keeps


def begun(name: str, source: str, texts: dict[str, Any]) -> str:
    """The text of a pack called `name` that starts as the shipped pack `source`; `texts`: what is written around the copy."""
    own, text = texts["sources"][source], (PROJECT / f"conf/styles/{source}.yaml").read_text(encoding="utf-8")
    if "classifier" in own:
        text = re.sub(r"(?ms)^classifier:.*?^(?=requests:)", lambda _: own["classifier"] + "\n", text)
    for found, new in ((r"\A(#.*\n|\n)*", ""), (r"(?m)^name: .*", f"name: {name}"), (own["tag"], name)):
        text = re.sub(found, new, text)
    for start, comment in texts["comments"].items():
        above = re.sub("(?m)^", re.match(" *", start)[0] + "# ", comment) + "\n"
        text = re.sub(rf"(?m)^(?={start})", above, text, count=1)
    own = {key: value.format(name=name) for key, value in own.items()}
    return texts["header"].format(name=name, source=source, **own) + text


def name_mistakes(name: str) -> list[str]:
    """Why a pack cannot be called so; empty where it can."""
    if not NAME.fullmatch(name) or name in WORDS:
        return [f"NAME: {name!r} cannot be a tag; use 1 to 32 of the characters a-z 0-9 _ -, beginning with a letter, as in pirate"]
    return [f"NAME: {name!r} is taken, and so are {', '.join(TAKEN)}; write for instance my-{name}"] if name in TAKEN else []


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0. Raises ValueError for a name that cannot be used, another source, and a file that is there or cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m gold_style.new", description=__doc__.split("\n\n")[1])
    parser.add_argument("kind", metavar="style", help="what to begin: a style")
    parser.add_argument("name", metavar="NAME", help="of the pack, its tag and its file")
    parser.add_argument("--from", dest="source", default="village", metavar="|".join(SHIPPED), help="where it starts (default: village)")
    given = parser.parse_args(arguments)
    if wrong := [*one_of("KIND", given.kind, ("style",)), *one_of("--from", given.source, SHIPPED), *name_mistakes(given.name)]:
        raise ValueError("\n".join(wrong))
    texts, path = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")), Path("conf/styles", f"{given.name}.yaml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(begun(given.name, given.source, texts))
    except OSError as error:
        raise ValueError(f"{path}: nothing was written: {error.strerror}; choose another NAME or another directory") from None
    print(
        texts["written"].format(path=path, source=given.source, command=texts["sources"][given.source]["command"].format(name=given.name))
    )
    return 0


if __name__ == "__main__":
    run_command(main)
