"""The map is true: the README's tree names every room in its order, imports run downwards only, and what a line claims is so.

A room is a line of the tree; a line may name several modules. `pytest tests/test_layers.py -s` prints rooms and arrows.
"""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "The tree", "README.ko.md": "폴더 안내"}  # page -> heading of its tree
MAX_ARROWS = 80
LINE = re.compile(r"^(?P<indent> *)(?P<paths>\S+(?: \S+)*?)(?:  +(?P<text>\S.*))?$")


def tree(page: str = "README.md") -> list[tuple[list[str], str]]:
    """(paths, text) of each line of a README's tree, paths relative to the project."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    block = re.search(rf"^## {PAGES[page]}\n.*?^```\n(.*?)^```", text, re.M | re.S)[1]
    lines, parent = [], ""
    for line in block.splitlines():
        found = LINE.match(line)
        parent = parent if found["indent"] else ""
        paths = [parent + path for path in found["paths"].split(" ")]
        if not found["indent"] and paths[0].endswith("/"):
            parent = paths[0]
        lines.append((paths, found["text"] or ""))
    return lines


def rooms() -> list[tuple[list[str], str]]:
    """The lines whose code imports one another, from the top down."""
    package = [line for line in tree() if line[0][0].startswith("gold_style/") and line[0] != ["gold_style/"]]
    outside = [line for line in tree() if line[0][0] in ("train.py", "evaluate.py", "hydra_plugins/", "benchmarks/")]
    return outside + package


def files_of(paths: list[str]) -> list[Path]:
    return [file for path in paths for file in ([PROJECT / path] if path.endswith(".py") else sorted((PROJECT / path).rglob("*.py")))]


def room_of(file: Path, rooms: list[tuple[list[str], str]]) -> int | None:
    """The room with the longest path that holds this file."""
    name = file.relative_to(PROJECT).as_posix()
    fitting = [
        (len(path), number)
        for number, (paths, _) in enumerate(rooms)
        for path in paths
        if name == path or (path.endswith("/") and name.startswith(path))
    ]
    return max(fitting)[1] if fitting else None


def imports_of(file: Path) -> list[str]:
    """Dotted names that a file imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def file_of(module: str) -> Path | None:
    path = PROJECT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def arrows() -> dict[tuple[int, int], str]:
    """(room, imported room) -> one import that makes the arrow."""
    found = {}
    all_rooms = rooms()
    for file in {file for paths, _ in all_rooms for file in files_of(paths)}:
        for module in imports_of(file):
            target = file_of(module) if module.startswith("gold_style.") else None
            ends = room_of(file, all_rooms), target and room_of(target, all_rooms)
            if target and None not in ends and ends[0] != ends[1]:
                found.setdefault(ends, f"{file.relative_to(PROJECT)} imports {module}")
    return found


def name_of(number: int) -> str:
    return " ".join(path.removeprefix("gold_style/") for path in rooms()[number][0])


def test_every_line_of_the_tree_names_what_is_there():
    for paths, _ in tree():
        for path in paths:
            assert (PROJECT / path).exists(), f"README.md, The tree: {path} is not there"


def test_both_languages_have_the_same_tree():
    english, korean = ([paths for paths, _ in tree(page)] for page in PAGES)
    assert english == korean


def test_every_module_has_a_room():
    all_rooms = rooms()
    lost = [str(file.relative_to(PROJECT)) for file in sorted((PROJECT / "gold_style").rglob("*.py")) if room_of(file, all_rooms) is None]
    assert [file for file in lost if file != "gold_style/__init__.py"] == []


def test_imports_run_downwards_only():
    wrong = [f"{name_of(start)} is below {name_of(end)}: {why}" for (start, end), why in arrows().items() if end < start]
    assert not wrong, "\n".join(sorted(wrong))


def test_rooms_and_arrows_stay_few(capsys):
    found = arrows()
    with capsys.disabled():
        print(f"\nrooms {len(rooms())}, arrows {len(found)} (at most {MAX_ARROWS})")
        for number in range(len(rooms())):
            below = [name_of(end) for start, end in sorted(found) if start == number]
            print(f"  {name_of(number)} -> {', '.join(below) or 'nothing'}")
    assert len(found) <= MAX_ARROWS


CLAIMS = {  # what a line may claim -> the imports that would make it false
    "pure": re.compile(r"^(torch|transformers|trl|accelerate|wandb|subprocess|socket|random|time|tempfile|gold_style\.runs)\b"),
    "no torch": re.compile(r"^(torch|transformers|trl|accelerate)\b"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_line_claims_is_so(claim):
    all_rooms = rooms()
    claiming = [(number, paths) for number, (paths, text) in enumerate(all_rooms) if re.search(rf"\b{claim}\b", text)]
    for number, paths in claiming:
        for file in files_of(paths):
            if room_of(file, all_rooms) != number:
                continue  # a door inside the folder
            at_fault = [module for module in imports_of(file) if CLAIMS[claim].match(module)]
            assert not at_fault, f"README.md says '{claim}' of {paths}; {file.relative_to(PROJECT)} imports {at_fault[0]}"


def test_the_only_caller_of_a_function_is_the_only_one():
    for paths, text in tree():
        for name in re.findall(r"the only caller of (\w+)", text):
            trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in (PROJECT / "gold_style").rglob("*.py")}
            callers = {file for file, tree in trees.items() for node in ast.walk(tree) if getattr(node, "attr", None) == name}
            assert callers == set(files_of(paths)), f"README.md says that {paths} is the only caller of {name}"
