"""Whether a hub has what is named, asked once and briefly: the libraries' own retries take minutes.

    missing_models({"model.teacher": ("Qwen/Qwen2.5-3B-Instruct", None)})     # [] | ["model.teacher=...: ..."]

A hub is what HF_ENDPOINT says; a login is sent as the libraries send it.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from gold_style.config.settings import local_model

HUB_TIMEOUT_S = 5.0


def ask_hub(*questions: Callable[[], Any]) -> list[Any]:
    """What each question gives or raises; TimeoutError for one without an answer in time. All are asked at once."""
    answers: list[Any] = [TimeoutError(f"no answer within {HUB_TIMEOUT_S:.0f} s")] * len(questions)

    def ask(number: int) -> None:
        try:
            answers[number] = questions[number]()
        except Exception as error:  # whatever the transport raises is the answer
            answers[number] = error

    threads = [Thread(target=ask, args=(number,), daemon=True) for number in range(len(questions))]
    for thread in threads:  # a name server that hangs heeds no timeout
        thread.start()
    end = time.monotonic() + HUB_TIMEOUT_S + 1
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return answers


def missing_models(models: dict[str, tuple[str, str | None]]) -> list[str]:
    """What is wrong with those of the models, key -> (name, revision), that are to come from the hub; [] where all can be had.

    Where the hub is out of reach and the cache has them, this process takes them from there from now on.
    """
    remote = {key: model for key, model in models.items() if not Path(local_model(model[0])).is_dir()}
    lacking = {key: model for key, model in remote.items() if not isinstance(_cached(*model), str)}
    if constants.HF_HUB_OFFLINE:
        return _out_of_reach(lacking, "HF_HUB_OFFLINE is set") if lacking else []
    answers = dict(zip(remote, ask_hub(*(partial(_metadata, *model) for model in remote.values())), strict=True))
    refused = {key: reason for key, answer in answers.items() if (reason := refusal(answer, "model", f"{key}_revision", remote[key][1]))}
    failed = {key: answer for key, answer in answers.items() if isinstance(answer, Exception) and key not in refused}
    found = [f"{key}={remote[key][0]}: {reason}" for key, reason in refused.items()]
    if unreachable := {key: model for key, model in lacking.items() if key in failed}:
        reason = first_line(next(failed[key] for key in unreachable))
        return [*found, *_out_of_reach(unreachable, f"{constants.ENDPOINT} cannot be reached ({reason})")]
    constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE or bool(failed)
    return found


def refusal(answer: Any, kind: str, key: str, revision: str | None) -> str | None:
    """Why the hub does not give a `kind` ("model") at the `revision` under a `key`, if it has answered that it does not."""
    if not isinstance(answer, HfHubHTTPError) or answer.response.status_code >= 500:
        return None
    at = f" at {key}={revision}" if revision else ""
    reason = f"{constants.ENDPOINT} has no such {kind}{at}, or it needs a login (hf auth login) or a licence to be accepted"
    return f"{reason} (status {answer.response.status_code}); no local directory of that name either"


def _metadata(name: str, revision: str | None) -> Any:
    return get_hf_file_metadata(hf_hub_url(name, constants.CONFIG_NAME, revision=revision), timeout=HUB_TIMEOUT_S)


def _cached(name: str, revision: str | None) -> Any:
    return try_to_load_from_cache(name, constants.CONFIG_NAME, revision=revision)


def _out_of_reach(models: dict[str, tuple[str, str | None]], reason: str) -> list[str]:
    names = " and ".join(f"{key}={name}" for key, (name, _) in models.items())
    advice = " ".join(f"{key}=PATH" for key in models)
    return [f"{names}: neither a local directory nor in the cache here, and {reason}; download elsewhere and give the directory: {advice}"]


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
