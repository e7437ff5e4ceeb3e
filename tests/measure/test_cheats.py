"""What must earn nothing."""

from dataclasses import replace

from gold_style.measure.cheats import cheats
from gold_style.measure.rates import Toggle, joint_score, score, toggled_share
from tests.helpers.judged_answers import CLASSIFIER, JOSEON, MODERN, PACK, TOPICS, written


def test_trivial_cheats_earn_nothing():
    honest = written({"chosun": JOSEON, "none": MODERN}, [f"{topic}{number}호" for topic in TOPICS for number in range(8)])
    toggle = Toggle.from_pack(PACK)
    assert joint_score(honest, toggle) == 1.0 and toggled_share(honest, toggle) == 1.0
    found = cheats(honest, CLASSIFIER, PACK)
    assert {name: joint_score(judged, toggle) <= 0.05 for name, judged in found.items()} == {"constant": True, "copy": True}
    assert score(found["constant"], toggle)["chosun_rate"] == 1.0  # what the joint score is for
    untopical = [replace(entry, topic=None) for entry in honest]  # nor where topics are not known
    assert all(joint_score(judged, toggle) <= 0.05 for judged in cheats(untopical, CLASSIFIER, PACK).values())
