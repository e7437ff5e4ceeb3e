"""What summary.json says besides the headline."""

from gold_style.measure.answers import Answer, judge
from gold_style.measure.details import forgetting, pairs
from gold_style.measure.rates import Toggle
from gold_style.measure.summary import run_summary
from gold_style.verdicts import classifier_of
from tests.helpers.judged_answers import JOSEON, MODERN, PACK, TOPICS, written
from tests.helpers.prompt_settings import pack
from tests.helpers.run_files import TOGGLE, answer, answers


def test_pairs_and_forgetting():
    toggle = Toggle.from_pack(PACK)
    before, after = written({"chosun": MODERN, "none": MODERN}), written({"chosun": JOSEON, "none": MODERN})
    assert pairs(before, toggle) == {"requests": len(TOPICS), "chrf": 1.0, "lemma_overlap": 1.0, "lemma_backend": "rules", "identical": 1.0}
    assert 0 < pairs(after, toggle)["lemma_overlap"] < 0.7 and pairs(after, toggle)["identical"] == 0.0
    kept = forgetting(before, after, toggle)
    assert kept["identical"] == 1.0 and kept["style_rate_change"] == 0.0 and kept["length_ratio"] == 1.0


def test_what_is_not_under_a_tag_of_the_pack_moves_no_other_number():
    """Cut, ambiguous, off-topic answers without a tag, to requests of their own, would move every one of them."""
    tagged = {model: answers(*rates) for model, rates in {"before": (0.1, 0.1), "after": (0.9, 0.1), "teacher": (1.0, 0.0)}.items()}
    strange = {"finished": False, "content": False, "copied": True, "topic": None, "likelihood_ratio": 9.0}
    others = [answer(number, tag, "joseon", **strange) for number in range(200) for tag in (None, "chosum")]
    options = {"steps": 0, "train_seconds": 0, "status": "completed", "bootstrap_samples": 100}
    without = run_summary(tagged, TOGGLE, **options)
    found = run_summary({model: made + others for model, made in tagged.items()}, TOGGLE, **options)
    for model in tagged:
        assert found[model].pop("untagged") == 1.0 and without[model].pop("untagged") is None
        details, before = (summary["details"]["models"][model] for summary in (found, without))
        low, high = details["intervals"].pop("untagged")
        assert 0.95 < low < high == 1.0 and before["intervals"].pop("untagged") is None
        assert details.pop("tags").keys() - before.pop("tags").keys() == {"untagged", "misspelt"}
        for name in ("directions", "eras"):
            assert {value: {tag: parts[tag] for tag in TOGGLE.verdicts} for value, parts in details.pop(name).items()} == before.pop(name)
    assert found == without


def test_only_requests_without_a_tag():
    summary = run_summary({"after": [answer(0, None, "joseon")]}, TOGGLE, steps=0, train_seconds=0, status="completed")
    assert summary["after"]["untagged"] == 1.0 and summary["after"]["margin"] is None and summary["after"]["prompts"] == 0


def test_untagged_and_misspelt_have_their_slices():
    made = written({"chosun": JOSEON, "none": MODERN, None: MODERN, "chosum": JOSEON})
    summary = run_summary({"after": made}, Toggle.from_pack(PACK), steps=0, train_seconds=0, status="completed")
    assert list(summary["after"]["rates"]) == ["chosun", "none"]
    tags = summary["details"]["models"]["after"]["tags"]
    assert list(tags) == ["chosun", "none", "untagged", "misspelt"]
    assert tags["untagged"]["target_rate"] == 0.0 and tags["misspelt"]["target_rate"] == 1.0
    assert tags["misspelt"]["joint"] is None


def test_no_lemmas_of_another_language_than_korean():
    bard = pack("bard")
    toggle = Toggle.from_pack(bard)
    said = [Answer(id=1, style=tag, request="Tell me about tea.", text="Tea is fine.", topic="tea") for tag in bard.tags]
    found = pairs(judge(said, classifier_of(bard), bard), toggle)
    assert toggle.backend is None and found["lemma_overlap"] is None and found["chrf"] == found["identical"] == 1.0
