"""One answer: its verdict, level and content."""

from gold_style.measure.answers import Answer, finished_part, judge
from gold_style.verdicts import classifier_of
from tests.helpers.judged_answers import JOSEON, MODERN, written
from tests.helpers.prompt_settings import pack


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


def test_answers_of_an_english_pack_are_read_as_english():
    bard = pack("bard")
    texts = (
        "The spider spinneth her web.",
        "Dogs bark.",
        "거미는 집을 짓사옵니다.",
        "Spiders and it doth spin a web, and it doth spin a web, and it doth",
    )
    said = [
        Answer(id=number, style="bard", request="Tell me about spiders.", text=text, topic="spiders") for number, text in enumerate(texts)
    ]
    judged = judge(said, classifier_of(bard), bard)
    assert [answer.verdict for answer in judged] == ["bard", "modern", "other", "other"]
    assert [answer.content for answer in judged] == [True, False, False, False]
    assert [answer.degenerate for answer in judged] == [False, False, False, True] and {answer.level for answer in judged} == {None}
