"""Which requests of a data set are kept from training: some for the summary, some for live evaluation.

The split goes by request *text*, never by row: a request that stands in the data under several tags is held out under
all of them. Requests are ranked by a hash of (seed, text), so the choice does not depend on the order of the rows.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from gold_style.prompts import Prompt
from gold_style.prompts.shuffle import hash64

MANY = 1000  # held-out requests; every model answers each of them under every tag
SELECTION_SAMPLES = 32  # where settings.prompts.selection_samples is null


@dataclass(frozen=True)
class HeldOut:
    """Keys of the requests held out, in the order in which they are asked."""

    evaluation: tuple[str, ...] = ()
    selection: tuple[str, ...] = ()


def request_key(prompt: Prompt) -> str:
    """What makes two requests the same: their text, but for white space, case and Unicode form."""
    return " ".join(unicodedata.normalize("NFC", prompt.request).casefold().split())


def hold_out(
    keys: Iterable[str], num_rows: int, seed: int, eval_samples: int | None, selection_samples: int | None, subject: str
) -> HeldOut:
    """Chooses among the distinct `keys` of `num_rows` rows.

    `eval_samples` None: a tenth of the rows, at least one, at most half of the requests; a number: exactly so many.
    Selection takes what is asked for, but never more than a tenth of the requests: with fewer than ten there is none.
    Raises ValueError where so many requests are asked for that none is left to train on.
    """
    ranked = sorted(set(keys), key=lambda key: (hash64(seed, "held out", key), key))
    num_evaluation = min(max(1, num_rows // 10), len(ranked) // 2) if eval_samples is None else eval_samples
    if not 0 <= num_evaluation < len(ranked):
        most = len(ranked) - 1
        raise ValueError(
            f"prompts.eval_samples={num_evaluation}: {subject} has {len(ranked)} different request{'s' * (most > 0)}; "
            f"allowed: 0 to {most}, so that one is left to train on"
        )
    asked = SELECTION_SAMPLES if selection_samples is None else selection_samples
    num_selection = min(asked, len(ranked) // 10, len(ranked) - num_evaluation - 1)
    return HeldOut(tuple(ranked[:num_evaluation]), tuple(ranked[num_evaluation : num_evaluation + num_selection]))


def size_notes(held_out: HeldOut, eval_samples: int | None, subject: str) -> list[str]:
    """A note where nobody chose how many requests are held out and a tenth of the rows is very many."""
    count = len(held_out.evaluation)
    if eval_samples is not None or count <= MANY:
        return []
    return [f"{subject}: a tenth of the rows, {count} requests, is asked under every tag; see prompts.eval_samples"]
