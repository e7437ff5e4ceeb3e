"""Speech levels and verdicts: the labelled set, the traps it was written for, invariances, the command."""

import json
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gold_style.pairs.corpus import JOSEON, MODERN, Corpus, default_pack
from gold_style.speech import BACKENDS, JOSEON_LEVELS, LEVELS, MODERN_LEVELS, VERDICTS, classify, is_degenerate, sentences
from gold_style.speech.endings import ENDINGS
from gold_style.speech.text import split_sentences

ROOT = Path(__file__).resolve().parents[2]
ROWS = [json.loads(line) for line in (ROOT / "data/speech_levels.jsonl").read_text(encoding="utf-8").splitlines()]


def run_command(data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "gold_style.speech", *arguments]
    return subprocess.run(command, input=data, capture_output=True, cwd=ROOT, timeout=120)


def test_labelled_set_is_well_formed():
    assert len(ROWS) >= 400
    assert len({row["text"] for row in ROWS}) == len(ROWS)
    assert {row["verdict"] for row in ROWS} == set(VERDICTS)
    assert {row["level"] for row in ROWS} == {None, *LEVELS}
    assert {row["split"] for row in ROWS} == {"development", "held_out"}
    for row in ROWS:
        assert set(row) == {"text", "verdict", "level", "trap", "split"}
        if row["verdict"] in ("joseon", "modern"):
            assert row["level"] in (JOSEON_LEVELS if row["verdict"] == "joseon" else MODERN_LEVELS), row
    assert any(not unicodedata.is_normalized("NFC", row["text"]) for row in ROWS), "some rows are decomposed on purpose"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("split", ["held_out", "development"])
def test_accuracy_on_the_labelled_set(backend, split):
    rows = [row for row in ROWS if row["split"] == split]
    found = Counter((row["verdict"], classify(row["text"], backend).verdict) for row in rows)
    styled = sum(count for (label, _), count in found.items() if label in ("joseon", "modern"))
    decided = {pair: n for pair, n in found.items() if set(pair) <= {"joseon", "modern"}}
    right = found["joseon", "joseon"] + found["modern", "modern"]
    assert right / sum(decided.values()) >= (0.96 if backend == "kiwi" else 0.93)
    assert sum(decided.values()) / styled >= 0.90
    assert found["modern", "joseon"] <= 0.01 * sum(n for (label, _), n in found.items() if label == "modern")
    assert found["other", "joseon"] == 0


def test_levels_on_the_labelled_set():
    decided = [(row, classify(row["text"])) for row in ROWS if row["verdict"] in ("joseon", "modern")]
    agreeing = [row["level"] == speech.level for row, speech in decided if speech.verdict == row["verdict"]]
    assert sum(agreeing) / len(agreeing) >= 0.98


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "text, verdict",
    [
        ("성은이 망극하옵니다.", "joseon"),
        ("비가 옵니다.", "modern"),
        ("신제품이 나옵니다.", "modern"),
        ("그가 돌아옵니다.", "modern"),
        ("삼가 아뢰옵니다.", "joseon"),
        ("소신 있게 말했습니다.", "modern"),
        ("반도체 소자를 연구합니다.", "modern"),
        ("신이 나서 뛰었어요.", "modern"),
        ("도움을 청하는 글입니다.", "modern"),
        ("소신은 그 영화가 좋아요.", "modern"),
        ("사극의 “통촉하여 주시옵소서!”라는 대사가 유명해요.", "modern"),
        ("다음 물음에 답하시오.", "modern"),
        ("어서 안으로 드시오.", "joseon"),
        ("비가 오네.", "ambiguous"),
        ("자네가 왔다니 반갑네.", "joseon"),
        ("와, 진짜 맛있네 ㅋㅋ", "modern"),
        ("백성을 구휼하라.", "joseon"),
        ("다음 식을 증명하라.", "modern"),
        ("그는 진정한 사나이다.", "modern"),
        ("가장 큰 섬은 제주도다.", "modern"),
        ("참으로 크도다.", "joseon"),
        ("그는 훌륭한 리더이다.", "modern"),
        ("새로 나온 시나리오", "ambiguous"),
        ("어찌하리오.", "joseon"),
        ("옵니다옵니다옵니다", "other"),
        ("전하께 아뢰옵��", "other"),
        ("", "other"),
        ("하소서 나이다 옵니다", "other"),
        ("I have nothing to say 옵니다", "other"),
        ("임금이 신하에게 상을 내렸다.", "modern"),
        ("요물이 온 나라를 꼬드기나이다.", "joseon"),  # a verb in no list: its object tells
        ("저들의 뜻을 헤아려 주사이다.", "joseon"),
        ("역적을 물리치사이다.", "joseon"),
        ("어서 말을 달려 적을 쫓아치세.", "joseon"),
        ("이 약은 주사이다.", "modern"),
        ("이 악기는 오카리나이다.", "modern"),
        ("물가 오름세", "ambiguous"),
        ("비둘기에게 먹이를 주지 마시오.", "modern"),
        ("이게 다 네 탓임", "modern"),
        ("아 출근하기 싫다 흑흑", "modern"),
        ("점심은 알리오 올리오", "ambiguous"),
        ("걔 완전 미쳤다 진짜 ㅋㅋ", "modern"),
        ("그것 참 딱하구려 허허", "joseon"),
    ],
)
def test_traps(text, verdict, backend):
    assert classify(text, backend).verdict == verdict


def test_the_last_sentence_decides_and_neighbours_tip_shared_endings():
    assert classify("전하께 아뢰옵니다. 농담이고요, 회의는 끝났어요.").verdict == "modern"
    assert classify("회의는 끝났어요. 이만 물러가겠나이다.").verdict == "joseon"
    assert classify("비가 오네.").verdict == "ambiguous"
    assert classify("먼 길을 오셨소. 비가 오네.").verdict == "joseon"
    assert classify("우산 챙기세요. 비가 오네.").verdict == "modern"
    mixed = sentences("전하께 아뢰옵니다. 회의는 끝났어요.")
    assert [speech.verdict for speech in mixed] == ["joseon", "modern"]
    assert [speech.level for speech in mixed] == ["하소서체", "해요체"]


def test_vocabulary_alone_never_makes_joseon():
    for text in ("전하, 소신, 백성, 윤허, 통촉", "전하 통촉 망극 황공 소신", "소신이 삼가 감히 전하께"):
        assert classify(text).verdict != "joseon"
    for text in ("전하, 점심 드셨어요?", "소인은 이만 퇴근합니다.", "과인은 지금 배가 고파요."):
        assert classify(text).verdict == "modern"


DECIDED = [row for row in ROWS if row["verdict"] in ("joseon", "modern") and row["trap"] not in ("sign", "quote")]


@given(st.sampled_from(DECIDED), st.sampled_from(["{}", "{} 🙏", "**{}**", "- {}", "“{}”", "{}\n", "<style:chosun> {}"]))
def test_wrapping_does_not_change_the_verdict(row, wrap):
    text = row["text"]
    if "“" in wrap and any(mark in text for mark in "“”'\"\n‘"):
        wrap = "{}"
    plain, wrapped = classify(text), classify(wrap.format(text))
    assert (wrapped.verdict, wrapped.ending) == (plain.verdict, plain.ending)
    assert wrapped.text == wrap.format(text)


@given(st.sampled_from(ROWS))
def test_decomposed_hangul_reads_the_same(row):
    composed = classify(unicodedata.normalize("NFC", row["text"]))
    decomposed = classify(unicodedata.normalize("NFD", row["text"]))
    assert (composed.verdict, composed.level, composed.ending) == (decomposed.verdict, decomposed.level, decomposed.ending)


@given(st.text(max_size=60))
def test_any_text_gets_a_verdict(text):
    speech = classify(text)
    assert speech.verdict in VERDICTS
    assert (speech.level is None) == (speech.ending is None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "옵니다옵니다옵니다",
        "좋아요 좋아요 좋아요 좋아요 좋아요",
        "전하께 아뢰옵니다. 전하께 아뢰옵니다. 전하께 아뢰옵니다.",
        "김치는 맛있는 김치는 맛있는 김치는 맛있는 김치는 맛있는",
        "전하, 김치의 일을 아뢰옵니다. 그 맛이이이이이이이이이이이 좋사옵니다",
        "사옵니다 나이다 하소서",
        "반쪽 글자\ufffd",
    ],
)
def test_degenerate(text):
    assert is_degenerate(text)
    assert classify(text).verdict == "other"
    assert sentences(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "ㅋㅋㅋㅋㅋㅋ 그거 진짜 웃겼어",
        "하하하하, 참으로 유쾌하구려.",
        "멍멍! 강아지가 짖어요.",
        "아니, 아니, 아니 되옵니다.",
        "통촉하여 주시옵소서! 통촉하여 주시옵소서!",
        "첫째, 물을 마시옵소서. 둘째, 물을 아끼시옵소서. 셋째, 물을 나누시옵소서.",
    ],
)
def test_natural_repeats_are_not_degenerate(text):
    assert not is_degenerate(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("비가 온다. “물러가라!” 하고 외쳤다.", ["비가 온다.", "“물러가라!” 하고 외쳤다."]),
        ("값은 3.5냥이오. 1. 쌀\n2. 콩을 사오.", ["값은 3.5냥이오.", "쌀", "콩을 사오."]),
        ("알겠소.그리하겠소!", ["알겠소.", "그리하겠소!"]),
        ("“가시오.” “싫소.”", ["“가시오.”", "“싫소.”"]),
        ("저는... 괜찮아요", ["저는... 괜찮아요"]),
        ("", []),
    ],
)
def test_split_sentences(text, expected):
    assert split_sentences(text) == expected


def test_answers_of_the_embedded_pair_get_their_verdict_whatever_the_topic():
    corpus, rng = Corpus(default_pack()), Random(7)
    for _ in range(300):
        request = corpus.request(rng)
        for column, verdict in ((MODERN, "modern"), (JOSEON, "joseon")):
            answer = corpus.answer(rng, request, column)
            heard = sentences(answer)
            assert (classify(answer).verdict, {speech.verdict for speech in heard}) == (verdict, {verdict}), answer
            assert len(heard) == 3, answer


def test_table_holds_every_level():
    assert {ending.old for ending in ENDINGS.values()} == {"", *JOSEON_LEVELS}
    assert {ending.new for ending in ENDINGS.values()} == {"", *MODERN_LEVELS}


def test_command_prints_one_object_a_line():
    lines = ["\ufeff이리 오너라.", "", "안녕하세요? 반가워요.\r", "  ", '따옴표 " 와 \\ 가 있소.']
    result = run_command("\n".join(lines).encode() + b"\n\xff\xfe broken\n\n")
    assert (result.returncode, result.stderr) == (0, b"")
    printed = [json.loads(line) for line in result.stdout.decode("utf-8").splitlines()]
    assert len(printed) == 7
    assert all(list(row) == ["text", "verdict", "level", "ending", "backend"] for row in printed)
    assert [row["verdict"] for row in printed] == ["joseon", "other", "modern", "other", "joseon", "other", "other"]
    assert [row["text"] for row in printed[:3]] == ["이리 오너라.", "", "안녕하세요? 반가워요."]
    assert "이리 오너라." in result.stdout.decode("utf-8"), "Korean stays readable"


def test_command_without_input_or_reader():
    assert run_command(b"").stdout == b""
    command = f"yes 그러하옵니다. | head -n 20000 | {sys.executable} -m gold_style.speech | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, cwd=ROOT, timeout=120)
    assert json.loads(result.stdout)["verdict"] == "joseon"
    assert result.stderr == b""


def test_an_ending_without_a_stem_after_an_object():
    assert classify("물을 도다.").verdict == "modern"


def test_unknown_backend():
    with pytest.raises(ValueError, match="'kiwy' is unknown; allowed: rules, kiwi"):
        classify("가시오.", "kiwy")
    assert run_command(b"", "--backend", "kiwy").returncode == 2


@pytest.mark.slow
def test_kiwi_answers():
    result = run_command("그대만 믿소.\n".encode(), "--backend", "kiwi")
    assert json.loads(result.stdout) == {"text": "그대만 믿소.", "verdict": "joseon", "level": "하오체", "ending": "-소", "backend": "kiwi"}


def test_kiwi_without_its_extra_says_what_to_install(tmp_path):
    (tmp_path / "kiwipiepy.py").write_text("raise ImportError('not installed')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from gold_style.speech.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--backend", "kiwi"]
    result = subprocess.run(command, input="그대만 믿소.\n".encode(), capture_output=True, cwd=ROOT, timeout=120)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"pip install 'gold-style[kiwi]'" in result.stderr


def test_import_is_light():
    code = "import sys, gold_style.speech; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.split()
    assert "gold_style" in loaded
    assert not {"torch", "transformers", "numpy", "kiwipiepy", "omegaconf"} & set(loaded)


def test_rules_are_fast():
    texts = [row["text"] for row in ROWS if row["verdict"] != "other"]
    start = time.process_time()
    for text in texts:
        classify(text)
    assert 60 * len(texts) / (time.process_time() - start) >= 50_000, "sentences a minute, one core"
