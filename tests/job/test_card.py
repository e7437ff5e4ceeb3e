"""The model card: what a stranger needs to ask the student, in both languages, and what he may do with it."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from transformers import AutoTokenizer

from gold_style.job.card import Part, card_text, parts_of
from gold_style.runs.files import read_json, read_json_lines, write_json, write_json_lines
from gold_style.runs.run_directory import read_config
from tests.helpers.finished_runs import TINY, finished_run
from tests.job.test_templates import model_with
from tests.test_chat import PARTS, with_content

QWEN = ("model=qwen3b_to_1p5b",)


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def messages_of(card: str) -> list[dict]:
    (written,) = re.findall(r"^messages = (.*)$", card, re.M)
    return ast.literal_eval(written)


def test_it_shows_a_held_out_request_the_measured_table_and_both_languages(tmp_path):
    run = finished_run(tmp_path / "run", requests=64)
    card, rows = card_text(run), list(read_json_lines(run / "samples.jsonl"))
    assert messages_of(card) == [{"role": "user", "content": f"<style:chosun> {rows[0]['request']}"}]
    assert "\n# tiny-student-joseon\n" in card and 'name = "student"  # this folder' in card
    english, korean = card.split("## 한국어\n")
    assert "| student after | " in english and "| teacher+system | " in english and rows[0]["after"] in english
    assert read_json(run / "summary.json")["details"]["models"]["after"]["intervals"]["margin"]
    assert "Whether it does was not measured" in english and "측정하지 않았습니다" in korean  # no row without a tag
    assert "시스템 프롬프트는 넣지 마세요" in korean and "Leave the system turn out" in english
    assert str(tmp_path) not in card and str(TINY) not in card and "{{" not in card and "{%" not in card


def test_what_it_answers_without_a_tag_is_said(tmp_path):
    run = finished_run(tmp_path / "run")
    summary = read_json(run / "summary.json")
    summary["after"]["untagged"] = 0.125
    card = card_text(run, summary)
    assert "as under `<style:none>`. Of 16 requests without a tag, 12 % were answered in joseon style." in card
    assert "태그 없는 요청 16개 가운데 12 %에 joseon 말투로 답했습니다." in card


def test_a_run_that_measured_nothing_says_so_and_shows_an_example_of_the_pack(tmp_path):
    run = finished_run(tmp_path / "run")
    write_json_lines(run / "samples.jsonl", [])
    card = card_text(run, {"before": None, "after": None, "teacher": None, "steps": 3})
    assert "Nothing: the run held out no requests." in card and "| student after |" not in card
    assert messages_of(card)[0]["content"].startswith("<style:chosun> ")
    (run / "summary.json").unlink()
    with pytest.raises(ValueError, match="summary.json: is missing"):
        card_text(run)


def test_a_system_turn_that_the_student_was_trained_with_is_part_of_the_request(tmp_path):
    run = finished_run(tmp_path / "run", "prompts.student_system_prompt='Say \"yes\".'")
    card = card_text(run)
    assert [turn["role"] for turn in messages_of(card)] == ["system", "user"] and messages_of(card)[0]["content"] == 'Say "yes".'
    assert "Keep the system turn" in card and "시스템 프롬프트를 그대로 넣으세요" in card


def test_quotes_in_a_request_and_a_template_of_parts_leave_python_that_runs(tmp_path):
    run = finished_run(tmp_path / "run", student=model_with(tmp_path / "parts", with_content(PARTS).chat_template))
    rows = list(read_json_lines(run / "samples.jsonl"))
    hostile = "say \"no\" \\ ''' {{ pack }} {% raw %}"
    write_json_lines(run / "samples.jsonl", [{**row, "request": hostile} for row in rows])
    (turn,) = messages_of(card_text(run))
    assert turn["content"] == [{"type": "text", "text": f"<style:chosun> {hostile}"}]
    assert hostile in AutoTokenizer.from_pretrained(run / "student").apply_chat_template([turn], tokenize=False)


@pytest.mark.parametrize(
    "overrides, student, teacher, head",
    [
        (
            QWEN,
            "Apache-2.0",
            "Qwen Research License, not for commercial use",
            {"license": "other", "license_name": "qwen-research-license"},
        ),
        (("model=qwen7b_to_1p5b",), "Apache-2.0", "Apache-2.0", {"license": "apache-2.0"}),
        (("model=llama8b_to_qwen1p5b",), "Apache-2.0", "Llama 3.1 Community License", {"license": "apache-2.0"}),
        ((), "apache-2.0", "apache-2.0", {"license": "apache-2.0"}),
    ],
)
def test_licences_of_student_and_teacher_are_those_that_are_known(tmp_path, overrides, student, teacher, head):
    run = finished_run(tmp_path / "run", *overrides)
    card, parts = card_text(run), parts_of(read_config(run))
    assert (parts["student"].licence, parts["teacher"].licence) == (student, teacher)
    assert f"| {student} |\n" in card and f"| {teacher} |\n" in card and "unknown" not in card and "not stated" not in card
    assert {key: head_of(card).get(key) for key in head} == head
    assert head_of(card).get("base_model") == ("Qwen/Qwen2.5-1.5B-Instruct" if overrides else None)
    restricted = "Not for commercial use**: Qwen/Qwen2.5-3B-Instruct" in card
    assert restricted == ("상업적 이용 불가**: Qwen/Qwen2.5-3B-Instruct" in card) == (overrides == QWEN)


def test_the_licence_of_data_and_of_local_models_comes_from_their_files(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\nbase_model: [some/model]\n---\n# My base\n")
    assert Part.of(str(tmp_path / "base"), None) == ("My base", "some/model", "cc-by-nc-4.0")
    assert Part.of(str(tmp_path), None) == (tmp_path.name, None, None) and Part.of("nobody/has-this", None).licence is None
    own = tmp_path / "my.jsonl"
    own.write_text("")
    config = read_config(finished_run(tmp_path / "run"))
    for path, licence in {"data/style_toggles.jsonl": "CC0-1.0", str(own): None}.items():
        data = parts_of(config | {"prompts": config["prompts"] | {"source": "jsonl", "path": path}})["data"]
        assert data == (Path(path).name, None, licence)
    assert parts_of(config)["data"].name == "requests composed from the style pack joseon"


def test_an_older_run_gets_todays_card(tmp_path):
    """A summary without details and a config without the newer keys, as runs of earlier versions left them."""
    run = finished_run(tmp_path / "run")
    summary = {key: value for key, value in read_json(run / "summary.json").items() if key != "details"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["prompts"]["untagged_share"], config["styles"]["language"], config["styles"]["examples"]
    (run / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    write_json(run / "summary.json", summary)
    assert "| student after | " in card_text(run)
