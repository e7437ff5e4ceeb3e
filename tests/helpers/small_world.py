"""A world of 675 texts small enough to know what any tokenizer's next token is: truth for the losses of two tokenizers."""

import itertools
import math
import random

import torch

from tests.helpers.toy_tokenizers import LLAMA_SPECIALS, byte_level

SUBJECTS, OBJECTS = "나는 그대는 전하께서는 우리가 학생이".split(), "밥을 책을 뜻을 말을 길을".split()
VERBS = "읽었습니다 읽었사옵니다 보았소 알겠습니다 알겠사옵니다 마셨나이다 합니다 하옵니다 하는데요".split()
WORLD = [" ".join(words) + end for words in itertools.product(SUBJECTS, OBJECTS, VERBS) for end in ("", ".", "!")]
WEIGHTS = [math.exp(random.Random(i).gauss(0, 1.5)) for i in range(len(WORLD))]
CHARACTERS = r"\p{L}+|\s|[^\s\p{L}]"
SHUFFLED = ["다니습 사합감 요세하녕안 밥을먹 었습 학교에갑니", "세요안 니다감 녕하반 을먹었 는학교 에갑"] * 10
CASES = {  # name -> (merges of the student, options of the teacher's `byte_level`)
    "finer": (200, {"merges": 60}),
    "bytes": (200, {"merges": 0}),
    "coarser": (80, {"merges": 400}),
    "syllables cut": (60, {"merges": 90}),
    "crossing": (80, {"merges": 80, "texts": SHUFFLED, "words": CHARACTERS}),
    "spaces apart": (200, {"merges": 200, "words": CHARACTERS}),
}


def sides_of(case):
    """-> (student's tokenizer, teacher's tokenizer)."""
    merges, options = CASES[case]
    return byte_level(merges=merges, texts=WORLD[::7]), byte_level(specials=LLAMA_SPECIALS, **{"texts": WORLD[::5], **options})


def true_model(tokenizer):
    """{ids so far: {next id: probability}} of the world's texts, each in the tokenizer's own segmentation."""
    counts = {}
    for text, weight in zip(WORLD, WEIGHTS, strict=True):
        ids = [*tokenizer.encode(text), tokenizer.eos_token_id]
        for i, token in enumerate(ids):
            following = counts.setdefault(tuple(ids[:i]), {})
            following[token] = following.get(token, 0.0) + weight
    return counts


def true_logits(model, ids, lengths, width):
    """Log-probabilities of the next token at every token of the rows, (tokens, width); -30 for what never follows."""
    result, start = torch.full((len(ids), width), -30.0, dtype=torch.float64), 0
    for length in lengths:
        for i in range(length):
            following = model.get(tuple(ids[start : start + i]), {})
            for token, weight in following.items():
                result[start + i, token] = math.log(weight / sum(following.values()))
        start += length
    return result
