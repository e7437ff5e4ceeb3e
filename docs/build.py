"""Builds the documentation's site from docs/, strictly: a dead link, a dead anchor or a page outside the menu is an error.

    python docs/build.py                        # build/site/index.html; `make docs` installs what it needs first
    python -m http.server -d build/site -b 127.0.0.1

Pages are copied to build/docs, the reference is written beside them out of schema, YAML comments, --help and docstrings, and Zensical
makes the site. It was chosen over mkdocs-material, whose maintainers have announced the end of that for May 2027 and make Zensical
instead; it reads the same mkdocs.yml, so the way back is open. Nothing in the site is loaded from elsewhere.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from gold_style import cli
from gold_style.config.mirror import PLAIN, Interval, hints_of, keys_of
from gold_style.config.schema import Role
from gold_style.config.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
PAGES, SITE = PROJECT / "build/docs", PROJECT / "build/site"
HOME = {  # what the site has in the place of something outside docs/
    "README.md": "index.md",
    "README.ko.md": "ko/index.md",
    "conf/config.yaml": "reference/settings.md",
    "conf": "reference/options.md",
    "gold_style/cli.py": "reference/commands.md",
    "gold_style": "reference/code.md",
}
LINK = re.compile(r"(\]\()([^)#\s]+)")


def main() -> int:
    """Write build/site. Exit code 1 where Zensical complains."""
    for directory in (PAGES, SITE):
        shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(PROJECT / "docs", PAGES, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for page in sorted(PAGES.rglob("*.md")):
        page.write_text(with_own_links(page), encoding="utf-8")
    for name, text in reference().items():
        (PAGES / "reference").mkdir(exist_ok=True)
        (PAGES / "reference" / f"{name}.md").write_text(text, encoding="utf-8")
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [zensical, "build", "--strict", "--clean", "-f", PROJECT / "mkdocs.yml"], cwd=PROJECT, capture_output=True, text=True
    )
    if done.returncode:
        print(re.sub(r"\x1b\[[\d;]*m|\nTraceback.*", "", done.stdout + done.stderr, flags=re.S), file=sys.stderr)
        return 1
    for page in SITE.glob("ko/**/*.html"):
        page.write_text(page.read_text(encoding="utf-8").replace('<html lang="en"', '<html lang="ko"', 1), encoding="utf-8")
    print(SITE / "index.html")
    return 0


def with_own_links(page: Path) -> str:
    """The text of a copied page. A file outside docs/ that it links to is copied into the site, or has a page of it in its place."""
    source = PROJECT / "docs" / page.relative_to(PAGES)

    def moved(match: re.Match) -> str:
        target = (source.parent / match[2]).resolve()
        if ":" in match[2] or not target.is_relative_to(PROJECT) or target.is_relative_to(PROJECT / "docs"):
            return match[0]
        name = target.relative_to(PROJECT).as_posix()
        place = PAGES / HOME.get(name, f"files/{name}" + (".txt" if name.endswith(".md") else ""))
        if name not in HOME:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, place)
        return match[1] + "../" * len(page.parent.relative_to(PAGES).parts) + place.relative_to(PAGES).as_posix()

    return LINK.sub(moved, page.read_text(encoding="utf-8"))


def reference() -> dict[str, str]:
    """Name -> text of the generated pages."""
    return {"settings": settings_page(), "options": options_page(), "commands": commands_page(), "code": code_page()}


def settings_page() -> str:
    """Every key of train.py: what it may be, what it is by default, and the comment of conf/config.yaml."""
    text = (PROJECT / "conf/config.yaml").read_text(encoding="utf-8")
    own = [comments(path.read_text(encoding="utf-8")) for path in (PROJECT / "conf/loss").glob("*.yaml")]  # keys of one loss
    said = {f"loss.{key}": line for found in own for key, line in found.items()} | comments(text)
    rows = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    for key in keys_of(Settings):
        default, meaning = said.get(key, ("", ""))
        rows.append(f"| `{key}` | {escaped(allowed(hint_of(key)))} | {escaped(default and f'`{default}`')} | {escaped(meaning)} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Every key of `python train.py`, out of schema.py and config.yaml. `train.*` takes more of TRL's fields:",
            "[train_fields.md](../train_fields.md). A default that begins with `${model.recipe` comes from the pair.",
            "",
            *rows,
            "",
            "## conf/config.yaml",
            "",
            *fenced("yaml", text),
        ]
    )


def hint_of(key: str) -> Any:
    """The annotation of a dotted key."""
    hint: Any = Settings
    for word in key.split("."):
        hint = next(hints[word] for part in (hint, *get_args(hint)) if hasattr(part, "__dataclass_fields__") and (hints := hints_of(part)))
    return hint


def allowed(hint: Any) -> str:
    """An annotation in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limits = [str(part) for part in parts[1:] if isinstance(part, Interval)]
        return " ".join([allowed(parts[0]), *limits])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (list, dict):
        return PLAIN[origin]
    if parts:
        return " or ".join(dict.fromkeys(allowed(part) for part in parts if not isinstance(part, Role)))
    return PLAIN.get(hint, "null" if hint is NoneType else "a mapping")


def comments(text: str) -> dict[str, tuple[str, str]]:
    """Dotted key -> value and comment in a YAML file that is laid out as conf/config.yaml is."""
    found, path = {}, []
    for line in text.splitlines():
        if key := re.match(r"( *)([\w-]+): *([^#]*?)(?:\s+# ?(.*))?$", line):
            path = [*path[: len(key[1]) // 2], key[2]]
            found[".".join(path)] = (key[3], key[4] or "")
        elif path and (more := re.match(r"\s{20,}# ?(.*)$", line)):
            value, comment = found[".".join(path)]
            found[".".join(path)] = (value, f"{comment} {more[1]}")
    return found


def options_page() -> str:
    """Every option of every group, with the comment at the top of its file."""
    lines = [
        "# Options of the groups",
        "",
        "A group is a folder of `conf/`, an option a file in it; choose one with `GROUP=OPTION`. What each file says of itself:",
        "",
    ]
    for folder in sorted(path for path in (PROJECT / "conf").iterdir() if path.is_dir()):
        lines += [f"## {folder.name}", ""]
        for path in sorted(folder.glob("*.yaml")):
            head = re.match(r"((?:#.*\n)*)", path.read_text(encoding="utf-8"))[1]
            told = [line.removeprefix("#").removeprefix(" ") for line in head.splitlines() if not line.startswith("# @package")]
            lines += [f"### {folder.name}={path.stem}", "", *fenced("text", "\n".join(told))]
    return "\n".join(lines)


def commands_page() -> str:
    """Every command of `gold-style`, with its --help."""
    lines = ["# Commands", "", "`gold-style NAME` and `python -m gold_style.NAME` are the same command.", "", *fenced("text", cli.USAGE)]
    for name in cli.COMMANDS:
        help_ = subprocess.run(
            [sys.executable, "-m", f"gold_style.{name}", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
        )
        lines += [f"## {name}", "", *fenced("text", help_.stdout.rstrip())]
    return "\n".join(lines)


def code_page() -> str:
    """Every module with its docstring, and its public classes and functions."""
    lines = ["# Code", "", "Out of the docstrings of `gold_style/`. The tree in the README says what each room is for."]
    for path in sorted((PROJECT / "gold_style").rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        name = path.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        public = [text for node in module.body for text in signatures(node)]
        if ast.get_docstring(module):
            lines += [
                "",
                f"## {name}",
                "",
                *fenced("text", ast.get_docstring(module)),
                *(fenced("python", "\n\n".join(public)) if public else []),
            ]
    return "\n".join(lines)


def signatures(node: ast.AST, indent: str = "") -> Iterator[str]:
    """A public class or function without its body; a class with its public methods."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_") and (said := ast.get_docstring(node)):
        methods = [text for part in node.body for text in signatures(part, indent + "    ")] if isinstance(node, ast.ClassDef) else []
        bases = ", ".join(map(ast.unparse, getattr(node, "bases", ())))
        is_class = isinstance(node, ast.ClassDef)
        head = (
            f"class {node.name}({bases})"
            if is_class
            else f"def {node.name}({ast.unparse(node.args)})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
        )
        quoted = ('"""' + said + '"""').replace("\n", f"\n{indent}    ")
        yield "\n\n".join([f"{indent}{head}:\n{indent}    {quoted}", *methods])


def fenced(language: str, text: str) -> list[str]:
    """Lines of a block whose fence the text cannot close."""
    fence = "`" * max(3, *(len(found) + 1 for found in re.findall("`{3,}", text)), 3)
    return [f"{fence}{language}", *text.rstrip().splitlines(), fence, ""]


def escaped(text: str) -> str:
    """Text for a cell of a table: a bar ends no cell, and what looks like a tag is none."""
    return re.sub(r"(`[^`]*`)|<", lambda match: match[1] or "&lt;", text).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
