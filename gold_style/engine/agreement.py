"""Is our reading of a model its own? Asked on a few tokens before a run, instead of a list of models that are known to be different.

    notes = check_reading(backbone, "the student", ids)      # sentences; backbone.reading then says what is used
    notes = check_reading(teacher.backbone, "the teacher", ids, prefixed=True)

The model's own forward, one row at a time, is the truth. A shortcut that makes other logits, or none, is not taken; where even its
decoder and head, one after the other, do not make these logits, the model is refused.

Shapes: T tokens, N logits that are compared, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gold_style.engine.backbone import Backbone
from gold_style.engine.decode_step import is_llama_like
from gold_style.engine.out_of_memory import is_out_of_memory
from gold_style.engine.packed_reading import read_states
from gold_style.engine.prefix_cache import PrefixCache, PrefixKV
from gold_style.engine.rollout import Batch

NUM_TOKENS, NUM_PREFIX = 12, 3  # of the row that is read
HALF = NUM_TOKENS // 2
WITHOUT = {  # what is given up -> what is done
    "packed": "packed reading and decode step make other logits than its own forward, which takes their place (slower)",
    "cached": "with a cache it makes other logits, or none, so every new token reads its row again (much slower)",
    "prefix": "kept keys and values change its logits, so the system prompt is read with every row (slower)",
}


@torch.no_grad()
def check_reading(backbone: Backbone, name: str, ids: Sequence[int], *, prefixed: bool = False) -> list[str]:
    """Compare every way in which a run reads with this model, with `prefixed` also after a prefix; a sentence for each that is given up.

    `ids` are those of a prompt. Changes no weight and no random state. Raises ValueError where the model cannot be read at all.
    """
    name, was_training = f"{name} ({type(backbone.base).__name__})", backbone.model.training
    backbone.model.eval()
    try:
        given_up = _Check(backbone, tuple(ids[i % len(ids)] for i in range(NUM_TOKENS))).given_up(prefixed)
    except Exception as error:  # whatever a model raises that is not made for plain text
        if is_out_of_memory(error):
            raise
        raise ValueError(f"{name} cannot be used: {error}; take another causal language model") from error
    finally:
        backbone.model.train(was_training)
    return [f"{name}: {WITHOUT[shortcut]}" for shortcut in given_up]


class _Check:
    """A row of ids and the model's own logits of it, shape (T, V)."""

    def __init__(self, backbone: Backbone, ids: tuple[int, ...]):
        self.backbone, self.ids = backbone, ids
        self.tolerance = max(5e-3, 2 * torch.finfo(backbone.head.weight.dtype).eps ** 0.5)  # above a deep model's rounding
        ids_1T = torch.tensor([ids], device=backbone.device)
        self.own_TV = type(backbone.base).forward(backbone.base, input_ids=ids_1T).logits[0].float()

    def given_up(self, prefixed: bool) -> list[str]:
        """The shortcuts of `Reading` that are no longer taken."""
        reading, found = self.backbone.reading, []
        if self.own_TV.isnan().any():
            raise ValueError(f"its own forward makes logits that are not numbers in {self.backbone.head.weight.dtype}")
        reading.packed = False
        if not self._agrees(self._scored):
            raise ValueError("its own forward makes other logits than decoder and head, token after token")
        reading.packed = True
        for shortcut, is_taken, ways in (
            ("packed", is_llama_like(self.backbone), [self._scored, self._written]),
            ("cached", True, [self._written]),
            ("prefix", prefixed and PrefixCache(self.backbone, 2**40).enabled, [self._scored, self._written]),
        ):
            if is_taken and not all(self._agrees(way, shortcut == "prefix") for way in ways):
                setattr(reading, shortcut, False)
                found.append(shortcut)
        return found

    def _agrees(self, way, prefixed: bool = False) -> bool:
        """Whether a way of reading makes the model's own logits."""
        try:
            logits_NV, places = way(PrefixCache(self.backbone, 2**40).get(self.ids[:NUM_PREFIX]) if prefixed else None)
        except Exception as error:  # a cache or an argument that the model does not know
            if is_out_of_memory(error):
                raise
            return False
        own_NV = self.own_TV[places]
        return bool(((logits_NV.float() - own_NV).square().mean(-1).sqrt() <= self.tolerance * own_NV.std()).all())

    def _scored(self, prefix: PrefixKV | None) -> tuple[Tensor, list[int]]:
        """Logits of two rows of different lengths, and the places in `ids` that they follow."""
        first = prefix.num_tokens if prefix else 0
        rows, places = [self.ids[first:], self.ids[first:HALF]], [*range(first, NUM_TOKENS), *range(first, HALF)]
        states = read_states(self.backbone, rows, [len(row) for row in rows], prefix, 2**20)
        return self.backbone.logits(torch.cat(states)), places

    def _written(self, prefix: PrefixKV | None) -> tuple[Tensor, list[int]]:
        """The same of two rows, both one token further, then one of them, as a rollout makes them."""
        ids, first = torch.tensor(self.ids, device=self.backbone.device), prefix.num_tokens if prefix else 0
        batch = Batch(self.backbone, [self.ids[first:HALF], self.ids[first : HALF - 2]], 3, prefix)
        found = [batch.next_logits(0)]
        batch.advance(ids[[HALF, HALF - 2]])
        found.append(batch.next_logits(1))
        batch.keep(ids.new_tensor([1]))
        batch.advance(ids[[HALF - 1]])
        return torch.cat([*found, batch.next_logits(2)]), [HALF - 1, HALF - 3, HALF, HALF - 2, HALF - 1]
