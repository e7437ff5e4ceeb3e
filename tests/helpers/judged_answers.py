"""Answers written by hand and judged as a run judges its own: what measure/ is tested on."""

from gold_style.measure.answers import Answer, Judged, judge
from gold_style.styles import StylePack
from gold_style.verdicts import build_classifier

PACK = StylePack.from_settings(
    {
        "name": "test",
        "neutral": "none",
        "untagged": "none",
        "styles": {
            "chosun": {"rule": "조선 말투로 답하라.", "verdict": "joseon", "levels": {"up": ["하소서체"], "down": ["해라체", "하오체"]}},
            "none": {"rule": "현대 말투로 답하라.", "verdict": "modern"},
        },
    }
)
CLASSIFIER = build_classifier({"name": "speech_level", "backend": "rules"})
JOSEON, MODERN = "{} 일을 삼가 아뢰옵나이다.", "{} 소식을 알려 드립니다."
TOPICS = ["나비", "봄 축제", "측우기", "물", "거북선", "인공지능", "소나기", "보험"]


def written(texts: dict[str | None, str], topics: list[str] = TOPICS, **fields) -> list[Judged]:
    """Judged answers: `texts` per tag, with the topic filled in, one request per topic."""
    made = [
        Answer(id=number, style=tag, request=f"{topic}에 대해 알려 줘.", text=text.format(topic), topic=topic, **fields)
        for number, topic in enumerate(topics)
        for tag, text in texts.items()
    ]
    return judge(made, CLASSIFIER, PACK)
