"""Prompts from a `datasets` data set of `{"messages": [...]}` rows: a hub name or a local directory, streamed or not.

A local directory holds what `save_to_disk` wrote, or .json, .jsonl, .parquet, .arrow or .csv files in the usual layout
(https://huggingface.co/docs/datasets/repository_structure). Local JSON is read by our own reader, whose messages name
file and line. Nothing is ever executed or unpickled: other formats and loading scripts are refused.

Example: `python train.py prompts=hf prompts.name=user/dataset prompts.split=train prompts.streaming=true`.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import datasets
import httpx
from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers, get_session

from gold_style.prompts.files import SUFFIXES, RawRow, RowFile
from gold_style.prompts.finite import RowSource
from gold_style.prompts.jsonl import places
from gold_style.prompts.rows import did_you_mean
from gold_style.prompts.stream import StreamSource

COLUMNS = ("messages", "topic", "direction", "era")
FORMATS = ("json", "parquet", "arrow", "csv")  # loaders that neither execute nor unpickle anything
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
HUB_TIMEOUT_S = 5.0  # of the question whether the hub has the data set; the libraries' own retries take half a minute
Rows = Callable[[], Iterable[RawRow]]  # begins to read anew at every call


def build(
    settings: Any, pack: Any, run_directory: Path | None = None, special_tokens: frozenset[str] = frozenset()
) -> RowSource | StreamSource:
    """The source of prompts=hf; the arguments are those of gold_style.prompts.jsonl.build.

    Raises ValueError: no such data set, configuration, split or column (naming those there are), the hub out of reach,
    bad rows.
    """
    prompts = settings.prompts
    if not prompts.name:
        raise ValueError("prompts.name is not set: name a data set of the hub (user/dataset) or a local directory")
    subject = f"prompts.name={prompts.name}"
    try:
        rows = _open(prompts, subject)
    except (datasets.exceptions.DatasetsError, FileNotFoundError, RuntimeError, OSError, httpx.HTTPError) as error:
        raise ValueError(f"{subject}: {first_line(error.__cause__ or error)}") from error
    if prompts.streaming:
        return StreamSource(rows, subject, settings, pack, run_directory, special_tokens)
    return RowSource.read(rows(), subject, settings, pack, run_directory, special_tokens)


def _open(prompts: Any, subject: str) -> Rows:
    directory = find_directory(prompts.name)
    if directory is None:
        check_hub(prompts.name, prompts.revision, subject)
    elif prompts.revision is not None:
        raise ValueError(f"prompts.revision={prompts.revision}: a local directory has no revisions; leave it out")
    elif any((directory / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _saved(directory, prompts, subject)
    try:
        builder = datasets.load_dataset_builder(str(directory or prompts.name), prompts.config, revision=prompts.revision)
    except ValueError as error:  # an unknown or missing configuration, a directory without data; it says which there are
        raise ValueError(f"{subject} prompts.config={prompts.config}: {first_line(error)}") from None
    loader = type(builder).__module__.split(".")[-1]
    if loader not in FORMATS:
        raise ValueError(f"{subject}: its files are read by the {loader!r} loader; allowed: {', '.join(FORMATS)}")
    return _files(builder, loader, directory, prompts, subject)


def _files(builder: datasets.DatasetBuilder, loader: str, directory: Path | None, prompts: Any, subject: str) -> Rows:
    files = builder.config.data_files or {}
    splits = [str(split) for split in builder.info.splits or files]
    check_split(prompts.split, splits, subject)
    own = [Path(file) for file in files.get(prompts.split, ())] if directory and loader == "json" else []
    if own and all(path.suffix.lower() in SUFFIXES for path in own):
        shown = [os.path.join(prompts.name, os.path.relpath(path, directory)) for path in own]
        return partial(file_rows, [RowFile(path, name) for path, name in zip(own, shown, strict=True)])
    if prompts.streaming:
        return _rows_of(builder.as_streaming_dataset(split=prompts.split), prompts, subject)
    builder.download_and_prepare()
    return _rows_of(builder.as_dataset(split=prompts.split), prompts, subject)


def _saved(directory: Path, prompts: Any, subject: str) -> Rows:
    """Of a directory written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    if prompts.config is not None:
        raise ValueError(f"prompts.config={prompts.config}: {directory} was written by save_to_disk and has no configurations")
    found = datasets.load_from_disk(str(directory))
    if isinstance(found, datasets.DatasetDict):
        check_split(prompts.split, list(found), subject)
        found = found[prompts.split]
    elif found.split is not None:
        check_split(prompts.split, [str(found.split)], subject)
    return _rows_of(found.to_iterable_dataset() if prompts.streaming else found, prompts, subject)


def _rows_of(dataset: Any, prompts: Any, subject: str) -> Rows:
    columns = dataset.column_names
    if columns is not None:
        if "messages" not in columns:
            hint = did_you_mean("messages", columns, "is it {}?")
            raise ValueError(f"{subject}: there is no column 'messages'; columns: {', '.join(columns)}{hint}")
        dataset = dataset.select_columns([name for name in COLUMNS if name in columns])
    return partial(dataset_rows, dataset, f"{prompts.name}[{prompts.split}]")


def dataset_rows(dataset: Iterable[dict[str, Any]], shown: str) -> Iterator[RawRow]:
    """The rows of a `datasets` data set, map-style or streamed."""
    for number, row in enumerate(dataset):
        turns = row.get("messages")
        if isinstance(turns, dict) and all(isinstance(column, list) for column in turns.values()):
            # the older Sequence feature hands {"role": [...], "content": [...]} back for a list of turns
            row = {**row, "messages": [dict(zip(turns, turn, strict=True)) for turn in zip(*turns.values(), strict=False)]}
        yield RawRow(number=number, origin=f"{shown}:{number}", value=row)


def file_rows(files: Iterable[RowFile]) -> Iterator[RawRow]:
    """The rows of several files as one data set."""
    raw_rows = (raw for file in files for raw in file)
    return (replace(raw, number=number) for number, raw in enumerate(raw_rows))


def find_directory(name: str) -> Path | None:
    """The local directory that `name` is, None for a hub name. Raises ValueError for what can be neither."""
    for place in places(name):
        if os.path.isdir(place):
            return place
        if os.path.isfile(place):
            raise ValueError(f"prompts.name={name}: a file; use prompts=jsonl prompts.path={name}, or name its directory")
    if not HUB_NAME.fullmatch(name):
        parent = places(name)[0].parent
        beside = sorted(entry.name for entry in parent.iterdir() if entry.is_dir()) if os.path.isdir(parent) else []
        hint = did_you_mean(places(name)[0].name, beside, f"did you mean {parent}/{{}}?", quote=False)
        raise ValueError(f"prompts.name={name}: no such directory, and no name of the form user/dataset either{hint}")
    return None


def check_split(split: str | None, splits: list[str], subject: str) -> None:
    """Raises ValueError where the data set has no such split."""
    if split not in splits:
        hint = did_you_mean(str(split), splits)
        raise ValueError(f"{subject} prompts.split={split}: no such split; allowed: {', '.join(splits)}{hint}")


def check_hub(name: str, revision: str | None, subject: str) -> None:
    """Asks the hub once, briefly, for the data set. Raises ValueError where it cannot be reached or has none."""
    if constants.HF_HUB_OFFLINE:  # the libraries answer at once from their cache, or not at all
        return
    url = f"{constants.ENDPOINT}/api/datasets/{name}" + (f"/revision/{revision}" if revision else "")
    outcome: list[httpx.Response | Exception] = []
    asking = Thread(target=_ask, args=(url, outcome), daemon=True)  # a name server that hangs heeds no timeout
    asking.start()
    asking.join(HUB_TIMEOUT_S + 1)
    answer = outcome[0] if outcome else TimeoutError(f"no answer within {HUB_TIMEOUT_S:.0f} s")
    if isinstance(answer, Exception) or answer.status_code >= 500:
        reason = first_line(answer) if isinstance(answer, Exception) else f"status {answer.status_code}"
        raise ValueError(
            f"{subject}: no such local directory, and {constants.ENDPOINT} cannot be reached ({reason}); "
            "put the data set into a local directory and name that, or set HF_HUB_OFFLINE=1 if it is in the cache here"
        )
    if answer.status_code >= 400:
        at = f" at prompts.revision={revision}" if revision else ""
        reason = f"{constants.ENDPOINT} has no such data set{at}, or it needs a login or a licence to be accepted"
        raise ValueError(f"{subject}: {reason} (status {answer.status_code}); no local directory of that name either")


def _ask(url: str, outcome: list) -> None:
    try:
        outcome.append(get_session().get(url, headers=build_hf_headers(), timeout=HUB_TIMEOUT_S, follow_redirects=True))
    except Exception as error:  # whatever the transport raises is the answer
        outcome.append(error)


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
