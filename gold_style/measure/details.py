"""More than the headline: intervals, tags, directions of address, eras, pairs of answers, forgetting.

This is the `details` of summary.json. Every share is of one model's answers; "untagged" and "misspelt" collect
requests without a tag of the pack. Intervals are over requests (gold_style.measure.statistics) with a fixed seed, so
that the same samples give the same numbers.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gold_style.measure.answers import Judged
from gold_style.measure.content import chrf, distinct, lemma_overlap, squashed
from gold_style.measure.likelihood import likelihood_summary
from gold_style.measure.rates import Toggle, decided, joint, joint_score, mean, share, toggled_share
from gold_style.measure.samples import MODELS, Samples
from gold_style.measure.statistics import gap_interval, margin_interval, share_interval, wilson
from gold_style.verdicts import AMBIGUOUS

Counts = tuple[np.ndarray, np.ndarray]  # hits and counted answers of each request, (R,) each


def details(samples: Samples, toggle: Toggle, *, samples_drawn: int, confidence: float) -> dict[str, Any]:
    """Details of each model, intervals included, and what takes several models: gap_closed's interval, forgetting."""
    known = {model: answers for model, answers in samples.items() if answers}
    requests = list(dict.fromkeys(answer.id for answers in known.values() for answer in answers if answer.style in toggle.verdicts))
    options = {"samples": samples_drawn, "confidence": confidence}
    headlines = [headline_counts(known[model], toggle, requests) for model in MODELS if model in known]
    return {
        "bootstrap_samples": samples_drawn,
        "confidence": confidence,
        "gap_closed_interval": gap_interval(*headlines, **options) if len(headlines) == len(MODELS) else None,
        "models": {model: model_details(known[model], toggle, options) if model in known else None for model in MODELS},
        "forgetting": forgetting(known["before"], known["after"], toggle) if {"before", "after"} <= known.keys() else None,
    }


def counts(answers: Sequence[Judged], hit, requests: Sequence) -> Counts:
    """Per request of `requests`: how many of its answers hit, and how many count (`hit` is not None)."""
    values = [(answer.id, hit(answer)) for answer in answers]
    hits = Counter(request for request, value in values if value)
    counted = Counter(request for request, value in values if value is not None)
    return tuple(np.array([number[request] for request in requests], np.float64) for number in (hits, counted))


def headline_counts(answers: Sequence[Judged], toggle: Toggle, requests: Sequence) -> tuple[Counts, Counts]:
    """Counts of the target verdict under the first and under the neutral tag."""
    tagged = ([answer for answer in answers if answer.style == tag] for tag in (toggle.first, toggle.neutral))
    return tuple(counts(decided(chosen), lambda answer: answer.verdict == toggle.target, requests) for chosen in tagged)


def model_details(answers: Sequence[Judged], toggle: Toggle, options: dict[str, Any]) -> dict[str, Any]:
    """One model's details: joint score, intervals of the headline, and its answers by tag, direction and era."""
    of_pack = [answer for answer in answers if answer.style in toggle.verdicts]
    without_tag = [answer for answer in answers if answer.style is None]
    requests, asked_so = (list(dict.fromkeys(answer.id for answer in chosen)) for chosen in (of_pack, without_tag))
    first, neutral = headline_counts(answers, toggle, requests)
    intervals = {
        "chosun_rate": share_interval(*first, **options),
        "leakage": share_interval(*neutral, **options),
        "untagged": share_interval(*counts(decided(without_tag), lambda answer: answer.verdict == toggle.target, asked_so), **options),
        "margin": margin_interval(first, neutral, **options),
        "content": share_interval(*counts(of_pack, lambda answer: answer.content, requests), **options),
        "degenerate": share_interval(*counts(decided(of_pack), lambda answer: answer.degenerate, requests), **options),
        "joint": share_interval(*counts(of_pack, lambda answer: joint(answer, toggle), requests), **options),
    }
    bases = Counter("unknown" if answer.content is None else "topic" if answer.topic else "request words" for answer in of_pack)
    return {
        "joint": joint_score(answers, toggle),
        "toggled": toggled_share(answers, toggle),
        "intervals": intervals,
        "content_basis": dict(bases),
        "tags": by_group(answers, toggle, options["confidence"]),
        "directions": split(answers, toggle, "direction", options["confidence"]),
        "eras": split(answers, toggle, "era", options["confidence"]),
        "pairs": pairs(answers, toggle),
        "likelihood": likelihood_summary(answers, toggle),
    }


def split(answers: Sequence[Judged], toggle: Toggle, name: str, confidence: float) -> dict[str, Any]:
    """`by_group` for each value of the field `name`; answers where it is not known are left out."""
    values = dict.fromkeys(getattr(answer, name) for answer in answers if getattr(answer, name) is not None)
    return {value: by_group([answer for answer in answers if getattr(answer, name) == value], toggle, confidence) for value in values}


def by_group(answers: Sequence[Judged], toggle: Toggle, confidence: float) -> dict[str, Any]:
    """`slice_details` per tag; "untagged" and "misspelt" where there are such answers."""
    groups = (*toggle.verdicts, "untagged", "misspelt")
    members = {group: [answer for answer in answers if toggle.group(answer.style) == group] for group in groups}
    return {group: slice_details(chosen, group, toggle, confidence) for group, chosen in members.items() if chosen}


def slice_details(answers: Sequence[Judged], group: str, toggle: Toggle, confidence: float) -> dict[str, Any]:
    """What is counted about the answers under one tag; `likelihood_ratio` is in nats per token."""
    scored, wanted = decided(answers), toggle.verdicts.get(group)
    hits = sum(answer.verdict == toggle.target for answer in scored)
    texts = [answer.text for answer in answers]
    levels = Counter(answer.level for answer in answers if answer.level is not None)
    return {
        "answers": len(answers),
        "scored": len(scored),
        "target_rate": share(scored, lambda answer: answer.verdict == toggle.target),
        "target_interval": wilson(hits, len(scored), confidence),
        "style_rate": share(scored, lambda answer: answer.verdict == wanted) if wanted else None,
        "strict_target_rate": share(scored, lambda answer: answer.strict == toggle.target),
        "strict_style_rate": share(scored, lambda answer: answer.strict == wanted) if wanted else None,
        "ambiguous": share(answers, lambda answer: answer.verdict == AMBIGUOUS),
        "degenerate": share(scored, lambda answer: answer.degenerate),
        "copied": share(answers, lambda answer: answer.copied),
        "unfinished": share(answers, lambda answer: None if answer.finished is None else not answer.finished),
        "content": share(answers, lambda answer: answer.content),
        "joint": share(answers, lambda answer: joint(answer, toggle)) if wanted else None,
        "accepted_level": share(answers, lambda answer: answer.accepted_level),
        "levels": {level: number / len(answers) for level, number in sorted(levels.items(), key=lambda item: (-item[1], item[0]))},
        "tokens": mean(answer.num_tokens for answer in answers),
        "characters": mean(len(text) for text in texts),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "likelihood_ratio": mean(answer.likelihood_ratio for answer in answers),
    }


def pairs(answers: Sequence[Judged], toggle: Toggle) -> dict[str, Any]:
    """How much the two answers of one request, under the first and under the neutral tag, have in common."""
    first, neutral = (texts_by_request(answers, tag) for tag in (toggle.first, toggle.neutral))
    return overlap(first, neutral, toggle.backend)


def forgetting(before: Sequence[Judged], after: Sequence[Judged], toggle: Toggle) -> dict[str, Any]:
    """How far the answers under the neutral tag have moved from the student's own before training."""
    old, new = ([answer for answer in answers if answer.style == toggle.neutral] for answers in (before, after))
    rates = [share(decided(answers), lambda answer: answer.verdict == toggle.verdicts[toggle.neutral]) for answers in (old, new)]
    lengths = [mean(len(answer.text) for answer in answers) for answers in (old, new)]
    return {
        **overlap(texts_by_request(new, toggle.neutral), texts_by_request(old, toggle.neutral), toggle.backend),
        "style_rate_change": None if None in rates else rates[1] - rates[0],
        "length_ratio": lengths[1] / lengths[0] if all(lengths) else None,
    }


def texts_by_request(answers: Sequence[Judged], tag: str) -> dict:
    """Request id -> text of its last answer under `tag`."""
    return {answer.id: answer.text for answer in answers if answer.style == tag}


def overlap(texts: dict, references: dict, backend: str | None) -> dict[str, Any]:
    """chrF, lemma overlap (read by the speech backend; None without one) and share of equal texts, over the requests
    that both sides answered."""
    common = [(texts[request], references[request]) for request in texts if request in references]
    return {
        "requests": len(common),
        "chrf": mean(chrf(text, reference) for text, reference in common),
        "lemma_overlap": mean(lemma_overlap(text, reference, backend) for text, reference in common) if backend else None,
        "lemma_backend": backend,
        "identical": mean(float(squashed(text) == squashed(reference)) for text, reference in common),
    }
