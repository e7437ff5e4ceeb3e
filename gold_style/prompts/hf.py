"""Prompts from a `datasets` data set: a hub name or a local directory, streamed or not; gold_style/prompts/rows.py says what a row is.

A local directory holds what `save_to_disk` wrote, or .json, .jsonl, .parquet, .arrow or .csv files in the usual layout
(https://huggingface.co/docs/datasets/repository_structure). Local .json, .jsonl, .csv and .parquet files are read as those of
prompts=jsonl, whose messages name file and line. Nothing is ever executed or unpickled: other formats and loading scripts are refused.

Example: `python train.py prompts=hf prompts.name=user/dataset prompts.split=train prompts.streaming=true`.
"""

import os
from pathlib import Path

import datasets
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HTTPError  # of whichever HTTP library the hub's client uses

from gold_style import did_you_mean
from gold_style.config.hub import HUB_TIMEOUT_S, ask_hub, first_line, refusal
from gold_style.config.schema import Prompts
from gold_style.config.settings import Settings, find_directory, row_suffix
from gold_style.prompts.raw_rows import DatasetRows, RawRows, RowFiles
from gold_style.prompts.row_source import RowSource
from gold_style.prompts.rows import COLUMNS, SHAPES
from gold_style.prompts.stream_source import StreamSource
from gold_style.styles import StylePack

FORMATS = ("json", "parquet", "arrow", "csv")  # loaders that neither execute nor unpickle anything


def build(
    settings: Settings, pack: StylePack, run_directory: Path | None = None, special_tokens: frozenset[str] = frozenset()
) -> RowSource:
    """The source of prompts=hf; the arguments are those of `build_source`.

    Raises ValueError: no such data set, configuration, split or column (naming those there are), the hub out of reach,
    bad rows.
    """
    subject = f"prompts.name={settings.prompts.name}"
    try:
        rows = open_rows(settings.prompts, subject)
    except (datasets.exceptions.DatasetsError, RuntimeError, OSError, HTTPError) as error:
        raise ValueError(f"{subject}: {first_line(error.__cause__ or error)}") from error
    source = StreamSource if settings.prompts.streaming else RowSource
    return source(rows, subject, settings, pack, run_directory, special_tokens)


def open_rows(prompts: Prompts, subject: str) -> RawRows:
    """The rows of the split, from wherever they are; nothing of them has been read yet."""
    name = str(prompts.name)
    directory = find_directory(name)
    is_local = directory.is_dir()
    if not is_local:
        check_hub(name, prompts.revision, subject)
    elif prompts.revision is not None:
        raise ValueError(f"prompts.revision={prompts.revision}: a local directory has no revisions; leave it out")
    elif any((directory / file).is_file() for file in ("dataset_dict.json", "state.json")):
        return _saved(directory, prompts, subject)
    try:
        builder = datasets.load_dataset_builder(str(directory) if is_local else name, prompts.config, revision=prompts.revision)
    except ValueError as error:  # an unknown or missing configuration, a directory without data; it says which there are
        raise ValueError(f"{subject} prompts.config={prompts.config}: {first_line(error)}") from None
    loader = type(builder).__module__.split(".")[-1]
    if loader not in FORMATS:
        raise ValueError(f"{subject}: its files are read by the {loader!r} loader; allowed: {', '.join(FORMATS)}")
    files = builder.config.data_files or {}
    check_split(prompts.split, [str(split) for split in builder.info.splits or files], subject)
    paths = [Path(file) for file in files.get(prompts.split, ())]
    if is_local and paths and all(map(row_suffix, paths)):
        return RowFiles({path: os.path.join(name, os.path.relpath(path, directory)) for path in paths})
    if prompts.streaming:
        return _dataset_rows(builder.as_streaming_dataset(split=prompts.split), prompts, subject)
    builder.download_and_prepare()
    return _dataset_rows(builder.as_dataset(split=prompts.split), prompts, subject)


def _saved(directory: Path, prompts: Prompts, subject: str) -> RawRows:
    """Of a directory written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    if prompts.config is not None:
        raise ValueError(f"prompts.config={prompts.config}: {directory} was written by save_to_disk and has no configurations")
    found = datasets.load_from_disk(str(directory))
    splits = found if isinstance(found, datasets.DatasetDict) else {str(found.split or prompts.split): found}
    check_split(prompts.split, list(splits), subject)
    dataset = splits[prompts.split]
    return _dataset_rows(dataset.to_iterable_dataset() if prompts.streaming else dataset, prompts, subject)


def _dataset_rows(dataset: datasets.Dataset | datasets.IterableDataset, prompts: Prompts, subject: str) -> RawRows:
    if (columns := dataset.column_names) is not None:
        if SHAPES.keys().isdisjoint(columns):
            raise ValueError(f"{subject}: there is no column {', '.join(SHAPES)}; columns: {', '.join(columns)}")
        dataset = dataset.select_columns([name for name in columns if name in (*COLUMNS, prompts.style_column)])
    return DatasetRows(dataset, f"{prompts.name}[{prompts.split}]")


def check_split(split: str, splits: list[str], subject: str) -> None:
    """Raises ValueError where the data set has no such split."""
    if split not in splits:
        hint = did_you_mean(split, splits)
        raise ValueError(f"{subject} prompts.split={split}: no such split; allowed: {', '.join(splits)}{hint}")


def check_hub(name: str, revision: str | None, subject: str) -> None:
    """Asks the hub once, briefly, for the data set. Raises ValueError where it cannot be reached or has none."""
    if constants.HF_HUB_OFFLINE:  # the libraries answer at once from their cache, or not at all
        return
    hub = constants.ENDPOINT
    (answer,) = ask_hub(lambda: HfApi(hub).dataset_info(name, revision=revision, timeout=HUB_TIMEOUT_S))
    if isinstance(answer, ValueError):  # no name that a hub could have
        raise ValueError(f"{subject}: no such local directory, and {first_line(answer)}")
    if reason := refusal(answer, "data set", "prompts.revision", revision):
        raise ValueError(f"{subject}: {reason}")
    if isinstance(answer, Exception):
        raise ValueError(
            f"{subject}: no such local directory, and {hub} cannot be reached ({first_line(answer)}); "
            "put the data set into a local directory and name that, or set HF_HUB_OFFLINE=1 if it is in the cache here"
        )
