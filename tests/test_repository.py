"""What strangers meet first agrees with itself: versions named twice, make targets and files that texts name, languages."""

import re
from pathlib import Path

import pytest
import yaml

import gold_style

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "data").glob("*.md")])


def pins() -> dict[str, str]:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (PROJECT / "Makefile").read_text(), re.M))


def test_pre_commit_runs_the_pinned_formatter():
    config = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())
    assert config["repos"][0]["rev"] == f"v{pins()['ruff']}"


def test_the_citation_names_this_version():
    assert yaml.safe_load((PROJECT / "CITATION.cff").read_text())["version"] == gold_style.__version__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_names_targets_and_files_that_are_there(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"`make ([a-z][a-z0-9-]*)", text)) | set(re.findall(r"^make ([a-z][a-z0-9-]*)", text, re.M)) <= targets()
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http", "#"))}
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = set(re.findall(r"`((?:gold_style|tests|conf|docs|benchmarks|data)/[\w/.-]+\.(?:py|yaml|md|jsonl|json))`", text))
    begun = {f"conf/styles/{name}.yaml" for name in re.findall(r"gold_style\.new style (\w+)", text)}
    assert [path for path in paths - begun if not (PROJECT / path).exists()] == []


@pytest.mark.parametrize("workflow", sorted((PROJECT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_call_targets_that_are_there(workflow):
    steps = [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]
    called = {target for step in steps for target in re.findall(r"make ([a-z0-9-]+)", step.get("run", ""))}
    assert called and called <= targets()


def test_both_readmes_have_the_same_sections_and_commands():
    pages = [(PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md")]
    sections = [re.findall(r"^(#+) ", page, re.M) for page in pages]
    assert sections[0] == sections[1]
    commands = [re.findall(r"^(?:python|make|accelerate) [^#\n]*", page, re.M) for page in pages]
    assert [line.strip() for line in commands[0]] == [line.strip() for line in commands[1]]
    links = [sorted(re.findall(r"\]\(((?:docs|data|benchmarks)/[^)]+)\)", page.replace("](docs/ko/", "](docs/"))) for page in pages]
    assert set(links[0]) == set(links[1]) - {"docs/how_to.md"}  # the Korean pages have one for all
