"""The one answer to a misspelt word, and that there is no other."""

from pathlib import Path

from gold_style import did_you_mean, nearest

PACKAGE = Path(__file__).resolve().parents[1] / "gold_style"


def test_the_nearest_candidate_is_named_as_it_is_spelt():
    assert did_you_mean("usr", ["system", "user"]) == "; did you mean user?"
    assert did_you_mean("WandB", ("wandb", "none"), repr) == "; did you mean 'wandb'?"
    assert did_you_mean("chosn", ["none", "chosun"], "<style:{}>".format) == "; did you mean <style:chosun>?"
    assert did_you_mean("x", ["user"]) == did_you_mean("user", []) == did_you_mean(None, ["user"]) == ""


def test_the_first_of_two_that_differ_in_case_only():
    assert nearest("aa", ["Aa", "aA"]) == "Aa"
    assert nearest("abcd", ["abxx"]) is None and nearest("abcd", ["abxx"], cutoff=0.5) == "abxx"


def test_no_other_file_looks_for_near_words():
    assert [path for path in PACKAGE.rglob("*.py") if "difflib" in path.read_text(encoding="utf-8")] == [PACKAGE / "__init__.py"]
