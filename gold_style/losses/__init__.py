"""What a student is trained with: divergences, their fused form, and the losses for two different tokenizers."""

from gold_style.losses.alignment import TokenBytes, align, retokenise, token_spans
from gold_style.losses.divergence import JSD, entropy, forward_kl, reverse_kl
from gold_style.losses.fused import fused_jsd
from gold_style.losses.identical import identical_tokenizers
from gold_style.losses.lifting import Lifting
from gold_style.losses.segmentation import Segmenter
from gold_style.losses.sorted_l1 import sorted_l1
from gold_style.losses.tree import Tree
from gold_style.losses.uld import ULD
from gold_style.losses.vocabulary import VocabularyMatch

__all__ = [
    "JSD",
    "ULD",
    "Lifting",
    "Segmenter",
    "TokenBytes",
    "Tree",
    "VocabularyMatch",
    "align",
    "entropy",
    "forward_kl",
    "fused_jsd",
    "identical_tokenizers",
    "retokenise",
    "reverse_kl",
    "sorted_l1",
    "token_spans",
]
