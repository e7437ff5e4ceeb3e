"""Which requests of a data set are kept from training: some for the summary, some for live evaluation.

The split goes by request *text*, never by row: a request that the data have under several tags is held out under all of
them. Requests are ranked by a hash of (seed, text), so the choice does not depend on the order of the rows.
"""

import unicodedata
from collections.abc import Iterable

from gold_style.config.settings import Settings
from gold_style.prompts import Prompt
from gold_style.prompts.shuffle import hashed


def request_key(prompt: Prompt) -> str:
    """What makes two requests the same: their text, but for white space, case and Unicode form."""
    return " ".join(unicodedata.normalize("NFC", prompt.request).casefold().split())


def hold_out(keys: Iterable[str], num_rows: int, settings: Settings, subject: str) -> tuple[list[str], list[str]]:
    """(keys for evaluation, keys for selection), in the order in which they are asked, chosen among the distinct `keys` of
    `num_rows` rows.

    `prompts.eval_samples` null: a tenth of the rows, at least one, at most half of the requests; a number: exactly so many.
    `prompts.selection_samples`: so many, but never more than a tenth of the requests: with fewer than ten there is none.
    Raises ValueError where so many requests are asked for that none is left to train on.
    """
    ranked = sorted(keys, key=lambda key: (hashed(settings.seed, "held out", key), key))
    num_evaluation = settings.prompts.eval_samples
    if num_evaluation is None:
        num_evaluation = min(max(1, num_rows // 10), len(ranked) // 2)
    elif num_evaluation >= len(ranked):
        raise ValueError(
            f"prompts.eval_samples={num_evaluation}: {subject} has {len(ranked)} different request{'s' * (len(ranked) > 1)} in "
            f"{num_rows} rows; allowed: 0 to {len(ranked) - 1}, so that one is left to train on"
        )
    num_selection = min(settings.prompts.selection_samples, len(ranked) // 10, len(ranked) - num_evaluation - 1)
    return ranked[:num_evaluation], ranked[num_evaluation : num_evaluation + num_selection]
