"""What summary.json says besides the headline."""

from gold_style.measure.details import forgetting, pairs
from gold_style.measure.rates import Toggle
from gold_style.measure.summary import run_summary
from tests.helpers.judged_answers import JOSEON, MODERN, PACK, TOPICS, written


def test_pairs_and_forgetting():
    toggle = Toggle.from_pack(PACK)
    before, after = written({"chosun": MODERN, "none": MODERN}), written({"chosun": JOSEON, "none": MODERN})
    assert pairs(before, toggle) == {"requests": len(TOPICS), "chrf": 1.0, "lemma_overlap": 1.0, "lemma_backend": "rules", "identical": 1.0}
    assert 0 < pairs(after, toggle)["lemma_overlap"] < 0.7 and pairs(after, toggle)["identical"] == 0.0
    kept = forgetting(before, after, toggle)
    assert kept["identical"] == 1.0 and kept["style_rate_change"] == 0.0 and kept["length_ratio"] == 1.0


def test_untagged_and_misspelt_are_only_in_the_details():
    made = written({"chosun": JOSEON, "none": MODERN, None: MODERN, "chosum": JOSEON})
    summary = run_summary({"after": made}, Toggle.from_pack(PACK), steps=0, train_seconds=0, status="completed")
    assert list(summary["after"]["rates"]) == ["chosun", "none"]
    tags = summary["details"]["models"]["after"]["tags"]
    assert list(tags) == ["chosun", "none", "untagged", "misspelt"]
    assert tags["untagged"]["target_rate"] == 0.0 and tags["misspelt"]["target_rate"] == 1.0
    assert tags["misspelt"]["joint"] is None
