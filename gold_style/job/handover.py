"""Hand the student of a completed run on: as files, or to the model hub.

python -m gold_style.export RUN --format merged|gguf|ollama
python -m gold_style.publish RUN ORG/NAME [--private] [--dry-run]
"""

import argparse
import re
import shutil
from pathlib import Path

import torch
from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.utils import validate_repo_id
from jinja2 import Template
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from gold_style.chat import adds_bos, render
from gold_style.config.hub import first_line
from gold_style.job.card import card_text, student_messages, student_name
from gold_style.job.gguf_file import require_gguf, write_gguf
from gold_style.job.inputs import device_of
from gold_style.prompts import Message
from gold_style.runs.files import full_disk_explained, read_json_lines, write_text
from gold_style.runs.run_directory import finished_student, read_config
from gold_style.show.answers import chosen_rows

MODELFILE = Path(__file__).with_name("Modelfile.jinja").read_text(encoding="utf-8")
KINDS, NUM_REQUESTS = {"merged": (), "gguf": ("F16", "Q8_0"), "ollama": ("F16", "Q8_0")}, 16  # of GGUF files, by format
REASONS = {401: "the hub does not know this login: hf auth login", 403: "this login may not write there: its token needs write access"}


def export(arguments: list[str] | None = None) -> int:
    """Write RUN/export/FORMAT, and say how many of its greedy answers to held-out requests differ from those of student/. Exit code 0.

    Raises ValueError for a run that is not completed and for a student that cannot be written as GGUF.
    """
    parser = argparse.ArgumentParser(prog="python -m gold_style.export", description="Write a student into RUN/export/FORMAT.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the directory of a completed run of train.py")
    about = "merged: a folder for transformers and vLLM; gguf: files in float16 and in 8 bits for llama.cpp; ollama: these with a Modelfile"
    parser.add_argument("--format", required=True, choices=KINDS, help=about)
    asked = parser.parse_args(arguments)
    student, output, kinds = finished_student(asked.run), asked.run / "export" / asked.format, KINDS[asked.format]
    if kinds:
        require_gguf(student)
    card, config, tokenizer = card_text(asked.run), read_config(asked.run), AutoTokenizer.from_pretrained(student)
    generation = GenerationConfig.from_pretrained(student, max_new_tokens=config["train"]["max_completion_length"])
    name = student_name(config)
    weights = {kind: output / f"{name}-{kind.lower()}.gguf" for kind in kinds}
    with full_disk_explained(asked.run, f"the export of {asked.run}"):
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True) if kinds else shutil.copytree(student, output)
        write_text(output / "README.md", card)
        for kind, path in weights.items():
            write_gguf(student, path, kind, name)
    if asked.format == "ollama":
        turns = student_messages(config, None, "{{ .Prompt }}")
        write_text(output / "Modelfile", modelfile(tokenizer, weights["F16"].name, generation, turns))
    rows = chosen_rows(list(read_json_lines(asked.run / "samples.jsonl")), NUM_REQUESTS)
    turns = [student_messages(config, (row := group[number % len(group)])["style"], row["request"]) for number, group in enumerate(rows)]
    expected = answers(student, generation, turns) if turns else []
    for path in weights.values() or [output]:
        given = {"gguf_file": path.name, "config": AutoConfig.from_pretrained(student)} if kinds else {}
        found = answers(output, generation, turns, **given) if turns else []
        differ = sum(own != other for own, other in zip(found, expected, strict=True))
        size = sum(file.stat().st_size for file in ([path] if kinds else path.iterdir()))
        print(f"{path}: {size / 1e6:.1f} MB; {differ} of {len(turns)} answers differ from those of student/", flush=True)
    if asked.format == "ollama":
        print(f"ollama create {name.lower()} -f {output / 'Modelfile'}")
    return 0


def answers(folder: Path, generation: GenerationConfig, turns: list[list[Message]], **given) -> list[str]:
    """What the model in `folder` answers to each conversation, in float32; `given` are further arguments of from_pretrained."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **given)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **given).eval().to(device_of("auto"))
    texts = [render(tokenizer, messages) for messages in turns]
    batch = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
    written = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], generation_config=generation)
    return tokenizer.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def modelfile(tokenizer: PreTrainedTokenizerBase, weights: str, generation: GenerationConfig, asked: list[Message]) -> str:
    """Ollama's description of a model (https://docs.ollama.com/modelfile) that answers `asked`, whose text is Ollama's placeholder.

    It decodes as the run measured: greedily, without Ollama's penalty for repetition.
    """
    start, answer = render(tokenizer, asked), "{{ .Response }}"
    whole = render(tokenizer, [*asked, {"role": "assistant", "content": answer}], ask=False)
    template = whole if whole.startswith(start + answer) else start + answer
    template = template.removeprefix(tokenizer.bos_token) if adds_bos(tokenizer) else template
    stops = tokenizer.convert_ids_to_tokens(torch.tensor(generation.eos_token_id).view(-1).tolist())
    return Template(MODELFILE, trim_blocks=True, keep_trailing_newline=True).render(locals())


def publish(arguments: list[str] | None = None) -> int:
    """Send student/ and its card to a new repository on the hub that HF_ENDPOINT names; with --dry-run say what would be sent. Exit code 0.

    Raises ValueError for a wrong name, a run without a finished student, a missing login, and for what the hub refuses.
    """
    parser = argparse.ArgumentParser(prog="python -m gold_style.publish", description="Put a student on the model hub.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the directory of a completed run of train.py")
    parser.add_argument("name", metavar="ORG/NAME", help="a new repository, of an organisation or of yourself")
    parser.add_argument("--private", action="store_true", help="only you and the organisation see it")
    parser.add_argument("--dry-run", action="store_true", help="print files, sizes and card; send nothing")
    asked = parser.parse_args(arguments)
    near = re.sub(r"[^\w./-]+", "-", asked.name.strip("/"), flags=re.ASCII)
    if near != asked.name or near.count("/") != 1:
        near = near if near.count("/") == 1 else f"ORG/{near.rpartition('/')[2]}"
        raise ValueError(f"{asked.name!r}: write ORG/NAME, of letters, digits, '-', '_' and '.'; did you mean {near}?")
    validate_repo_id(asked.name)
    student, url = finished_student(asked.run), f"{constants.ENDPOINT}/{asked.name}"
    card = card_text(asked.run, name=asked.name)
    files = {path.name: path for path in sorted(student.iterdir()) if path.is_file()} | {"README.md": card.encode()}
    sizes = {name: len(file) if isinstance(file, bytes) else file.stat().st_size for name, file in files.items()}
    print(f"{url} ({'private' if asked.private else 'public'}), {sum(sizes.values()) / 1e6:.1f} MB:")
    print("\n".join(f"  {name:<28}{size:>16,} bytes" for name, size in sizes.items()), flush=True)
    if asked.dry_run:
        print(f"\nREADME.md:\n\n{card}\nnothing was sent; the same command without --dry-run sends it")
        return 0
    if not get_token():
        raise ValueError("no login for the hub: `hf auth login` with a token that may write, or set HF_TOKEN; nothing was sent")
    api = HfApi()
    try:
        api.create_repo(asked.name, private=asked.private or None, exist_ok=True)  # an upload that broke off left an empty one
        there = api.model_info(asked.name)
        if {file.rfilename for file in there.siblings or ()} - {".gitattributes"} or (asked.private and not there.private):
            raise ValueError("is there already, and nothing was sent; choose another name")
        own = [CommitOperationAdd(path, file) for path, file in files.items()]
        api.create_commit(asked.name, own, commit_message="Add the student")
    except Exception as error:  # whatever the transport raises
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise ValueError(f"{url}: {REASONS.get(status) or first_line(error)}") from error
    print(f"published: {url}")
    return 0
