"""One answer: its verdict, level and content."""

from gold_style.measure.answers import finished_part
from tests.helpers.judged_answers import JOSEON, MODERN, written


def test_a_cut_answer_is_judged_without_its_broken_end():
    assert finished_part("나비가 나옵니다. 그리고 꽃이") == "나비가 나옵니다."
    assert finished_part("그리고 꽃이") == "그리고 꽃이"
    [cut] = written({"chosun": "{}를 아뢰옵나이다. 그리고 좋은 꽃이"}, ["나비"], finished=False)
    assert cut.verdict == "joseon"


def test_degenerate_answers_fail_in_every_way():
    for text in ("", "{} 옵니다옵니다옵니다옵니다옵니다옵니다", "\ufffd\ufffd"):
        [judged] = written({"chosun": text}, ["나비"])
        assert (judged.verdict, judged.strict, judged.degenerate, judged.content) == ("other", "other", True, False)


def test_level_is_judged_by_direction_where_the_pack_lists_levels():
    [up] = written({"chosun": JOSEON}, ["나비"], direction="up")
    [down] = written({"chosun": JOSEON}, ["나비"], direction="down")
    [unlisted] = written({"none": MODERN}, ["나비"], direction="up")
    [unknown] = written({"chosun": JOSEON}, ["나비"])
    assert (up.level, up.accepted_level, down.accepted_level) == ("하소서체", True, False)
    assert unlisted.accepted_level is None and unknown.accepted_level is None


def test_mixed_answers_are_not_strict():
    [mixed] = written({"chosun": "{}는 좋아요. 신이 삼가 아뢰옵나이다."}, ["나비"])
    assert (mixed.verdict, mixed.strict) == ("joseon", "mixed")
