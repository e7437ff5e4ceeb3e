"""Stock GOLDTrainer beside ours: what the teacher reads and which tokens are scored.

Facts 1, 6, 7, 8, 9, 15, 16 and 23 of docs/upstream.md.
"""

import inspect
from functools import cache

import pytest
import torch
from trl.experimental.gold import GOLDConfig, gold_trainer

from gold_style.config.settings import Settings
from gold_style.engine.rollout import GREEDY
from gold_style.engine.teacher import Teacher
from gold_style.job.inputs import Inputs
from gold_style.prompts import Prompt
from tests.helpers import prompt_settings, stock, toy_runs, toys
from tests.helpers.stock import still

pytestmark = pytest.mark.slow

TOKENIZER = toys.byte_tokenizer()
VOCAB = len(TOKENIZER)
START, END = TOKENIZER.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
DEFAULTS = GOLDConfig(use_cpu=True, bf16=False)
ONE_ROW = {"per_device_train_batch_size": 1}


@cache
def teacher() -> Teacher:
    return Teacher(toys.model(VOCAB, seed=1), TOKENIZER)


def stock_run(rows, directory, *, student=None, of=None, **changes) -> stock.Run:
    students = student or toys.model(VOCAB)
    return stock.train(students, of or toys.model(VOCAB, seed=1), TOKENIZER, rows, directory, **changes)


def our_run(asked, directory, *, student=None, of=None, callbacks=(), training=None, **changes):
    student = student or toys.model(VOCAB)
    maker = toy_runs.row_maker(TOKENIZER, of or teacher(), asked, student=student, **changes)
    trained = toy_runs.trainer(student, maker, directory, callbacks=callbacks, **(training or {}))
    trained.train()
    return trained


def refused(directory, rows, *overrides: str) -> str:
    """What gold_style says, before any model is loaded, about a run on these rows."""
    path = prompt_settings.write(directory / "rows.jsonl", rows)
    keys = [f"prompts.path={path}", "tracker=none", f"output_dir={directory / 'run'}"]
    with pytest.raises(ValueError) as error:
        Inputs.load(Settings.compose("model=tiny", "prompts=jsonl", *keys, *overrides))
    return str(error.value)


def bytes_of(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


# ---- prompts ---------------------------------------------------------------------------------------------------------


def test_rows_without_an_answer_crash(tmp_path):
    """Fact 1: the format of on-policy data, a user turn alone."""
    asked = toys.prompts(8, references=False)
    rows = [{"messages": prompt.messages()} for prompt in asked]
    try:
        stock_run(rows, tmp_path, lmbda=1.0)
        still(False, 1, "rows of a user turn alone train")
    except ValueError as error:
        still("no prompt tokens left" in str(error), 1, f"the message became {error}")
    try:
        stock_run([{"prompt": prompt.messages()} for prompt in asked], tmp_path, lmbda=1.0)
        still(False, 1, "rows of a prompt alone train")
    except KeyError as error:
        still(error.args == ("completion",), 1, f"the missing key became {error}")

    row = our_run(asked, tmp_path, lmbda=1.0).run.rows[0]
    assert row["train/loss"] > 0 and row["train/on_policy"] == 1
    off_policy = refused(tmp_path, prompt_settings.rows(40), "loss.lmbda=0.5", "loss.seq_kd=false")
    assert "need an assistant turn" in off_policy and "loss.seq_kd=true" in off_policy


def test_a_long_prompt_loses_its_tag(tmp_path):
    """Fact 15: the end of a prompt that is too long is kept, so the tag at its beginning is cut away in silence."""
    long = Prompt(request="긴 이야기 " * 20, style="chosun", tag="chosun", reference="네.")
    student = toys.model(VOCAB)
    reads = stock.Reads(student.get_decoder())
    stock_run(stock.conversations([long]), tmp_path, student=student, lmbda=1.0, max_length=120, **ONE_ROW)
    texts = [TOKENIZER.decode(row) for row in reads.rows if len(row) > 20]
    still(texts and not any("<style:chosun>" in text for text in texts), 15, "the tag survives, or the row is refused")

    rows = [*prompt_settings.rows(20), prompt_settings.row("<style:chosun> " + long.request)]
    refusal = refused(tmp_path, rows, "prompts.max_prompt_tokens=60", "train.per_device_train_batch_size=2")
    assert "rows.jsonl:41: the student's prompt has" in refusal and "60 fit" in refusal


# ---- what the teacher reads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uld", [False, True], ids=["JSD", "ULD"])
def test_the_teacher_reads_no_system_prompt_of_its_own(uld, tmp_path):
    """Fact 9: there is no place for a text that only the teacher reads; ours reads it once."""
    asked = toys.prompts(1)
    model = toys.model(VOCAB, seed=1)
    reads = stock.Reads(model)
    stock_run(stock.conversations(asked), tmp_path, of=model, use_uld_loss=uld, **ONE_ROW)
    parameters = set(inspect.signature(stock.GOLDTrainer.__init__).parameters) | set(vars(DEFAULTS))
    still(not any("system" in name for name in parameters), 9, "an argument for a system prompt appeared")
    (row,) = reads.rows
    still(toys.PACK.intro not in TOKENIZER.decode(row), 9, "the teacher reads the pack's rules")

    model = toys.model(VOCAB, seed=1)
    reads = stock.Reads(model.get_decoder())
    our_run(asked, tmp_path, of=Teacher(model, TOKENIZER, prefix_cache_bytes=0), rows_per_window=1, plain_uld=uld)
    (row,) = reads.rows
    expected = TOKENIZER.apply_chat_template(
        [{"role": "system", "content": toys.PACK.teacher_system("chosun")}, *asked[0].messages()], add_generation_prompt=True
    )["input_ids"]
    assert list(row) == expected + bytes_of(asked[0].reference), "the stop token is scored, but predicts nothing"


def test_putting_the_rules_before_rendered_text_gives_two_system_blocks():
    """Fact 9: the old trick, a wrapper around build_teacher_inputs_from_texts, breaks the call or doubles the block."""
    build = gold_trainer.build_teacher_inputs_from_texts
    parameters = list(inspect.signature(build).parameters)
    still(
        parameters == ["tokenizer", "prompt_texts", "completion_texts", "use_extended_uld"],
        9,
        f"build_teacher_inputs_from_texts takes {parameters}",
    )
    qwen = toys.byte_tokenizer(template=toys.QWEN25)
    rendered = qwen.apply_chat_template(toys.prompts(1)[0].messages(), tokenize=False, add_generation_prompt=True)
    ids, *_ = build(qwen, [f"<|im_start|>system\n{toys.PACK.intro}<|im_end|>\n{rendered}"], ["네."])
    still(qwen.decode(ids[0]).count("<|im_start|>system") == 2, 9, "one system block only")


def test_a_teacher_of_another_template_reads_the_students_as_plain_text(tmp_path):
    """Fact 8: no header, no BOS and no stop of its own; ours is its own template (tests/test_chat.py for the rest)."""
    llama = toys.llama3_tokenizer()
    specials = set(llama.added_tokens_decoder)
    model = toys.model(len(llama), seed=1)
    reads = stock.Reads(model)
    rows = stock.conversations(toys.prompts(1))
    arguments = {"teacher_tokenizer": llama, "use_uld_loss": True, **ONE_ROW}
    stock.train(toys.model(VOCAB), model, TOKENIZER, rows, tmp_path, **arguments)
    (row,) = reads.rows
    still("<|im_start|>" in llama.decode(row), 8, "the student's markup does not reach the teacher")
    still(not set(row[:-1]) & specials, 8, "the teacher reads special tokens of its own")

    chat = toy_runs.Chat(TOKENIZER, llama, toys.PACK)
    ids = chat.teacher_ids(toys.prompts(1)[0])
    assert "<|im_start|>" not in llama.decode(ids.prefix + ids.rest) and ids.prefix[0] == llama.convert_tokens_to_ids("<|begin_of_text|>")


def test_a_teacher_of_the_same_template_reads_two_stops(tmp_path):
    """Fact 8: the completion's own stop token and a second one behind it."""
    model = toys.model(VOCAB, seed=1)
    reads = stock.Reads(model)
    student = toys.scripted_model(VOCAB, [*bytes_of("ab"), END])
    student.generation_config.eos_token_id = END
    stock_run(stock.conversations(toys.prompts(1)), tmp_path, student=student, of=model, use_uld_loss=True, lmbda=1.0, **ONE_ROW)
    (row,) = reads.rows
    still(list(row[-2:]) == [END, END], 8, f"the teacher's text ends {TOKENIZER.decode(row[-4:])}")

    model = toys.model(VOCAB, seed=1)
    reads = stock.Reads(model.get_decoder())
    student = toys.scripted_model(VOCAB, [*bytes_of("ab"), END])
    trained = our_run(
        toys.prompts(1), tmp_path, student=student, lmbda=1.0, rows_per_window=1, of=Teacher(model, TOKENIZER, prefix_cache_bytes=0)
    )
    (row,) = reads.rows
    assert list(row[-2:]) == bytes_of("ab") and trained.run.rows[0]["train/completion_tokens"] == 3


def test_identical_tokenizers_still_go_through_text(tmp_path):
    """Fact 7: a completion of half a syllable reaches the teacher as replacement characters; ours as the same ids."""
    broken = [*bytes_of("가")[:2], *bytes_of("x"), END]
    model = toys.model(VOCAB, seed=1)
    reads = stock.Reads(model)
    student = toys.scripted_model(VOCAB, broken)
    student.generation_config.eos_token_id = END
    rows = stock.conversations(toys.prompts(1))
    stock_run(rows, tmp_path, student=student, of=model, use_uld_loss=True, lmbda=1.0, **ONE_ROW)
    (row,) = reads.rows
    text = TOKENIZER.decode(row)
    still("\ufffd" in text and list(row[-5:-1]) != broken, 7, f"the teacher reads {text[-20:]!r}")

    model = toys.model(VOCAB, seed=1)
    reads = stock.Reads(model.get_decoder())
    our_run(
        toys.prompts(1),
        tmp_path,
        student=toys.scripted_model(VOCAB, broken),
        lmbda=1.0,
        rows_per_window=1,
        of=Teacher(model, TOKENIZER, prefix_cache_bytes=0),
    )
    (row,) = reads.rows
    assert list(row[-3:]) == broken[:-1]


# ---- which tokens are scored -----------------------------------------------------------------------------------------


def test_the_observed_merge_is_off_by_one(tmp_path):
    """Fact 6: under ULD's default merge strategy an answer's first token is never trained, a position too late is."""
    asked = toys.prompts(1)
    first = len(TOKENIZER.apply_chat_template(asked[0].messages(), add_generation_prompt=True)["input_ids"])
    last = first + len(bytes_of(asked[0].reference))  # the stop token's own position
    still(DEFAULTS.uld_token_merge_strategy == "observed", 6, "the default merge strategy changed")
    student = toys.model(VOCAB)
    scored = toy_runs.scored_positions(student)
    stock_run(stock.conversations(asked), tmp_path, student=student, use_uld_loss=True, **ONE_ROW)
    still(first - 1 not in scored[0] and first in scored[0], 6, f"positions {scored[0]} of the answer {first}..{last}")

    student = toys.model(VOCAB)
    scored = toy_runs.scored_positions(student)
    our_run(asked, tmp_path, student=student, plain_uld=True, rows_per_window=1)
    assert scored == [list(range(first - 1, last))]


def test_a_base_model_does_not_stop_where_the_turn_ends(tmp_path):
    """Fact 16: generation stops at the model's own stop id alone; ours at the template's, too."""

    def student():
        built = toys.scripted_model(VOCAB, [*bytes_of("ab"), END], sharpness=0.5)
        built.generation_config.eos_token_id = TOKENIZER.pad_token_id
        return built

    scored = toy_runs.scored_positions(theirs := student())
    arguments = {"lmbda": 1.0, "max_completion_length": 10, "top_k": 1, **ONE_ROW}
    stock_run(stock.conversations(toys.prompts(1)), tmp_path, student=theirs, **arguments)
    still(len(scored[0]) == 10, 16, f"{len(scored[0])} tokens were scored, the third of them <|im_end|>")

    scored = toy_runs.scored_positions(ours := student())
    our_run(toys.prompts(1), tmp_path, student=ours, lmbda=1.0, rows_per_window=1, sampling=GREEDY, max_completion_length=10)
    assert len(scored[0]) == 3


def test_without_a_stop_id_padding_is_scored(tmp_path):
    """Fact 16: a generation config that names no stop id: answers do end, and the padding behind them is trained on."""
    a, b = bytes_of("ab")

    def student():
        built = toys.scripted_model(VOCAB, [a, b], sharpness=0.5)
        built.lm_head.weight.data[END, a] = built.lm_head.weight.data[b, a]  # behind every a the answer may end
        built.generation_config.eos_token_id = None
        return built

    torch.manual_seed(0)
    arguments = {"lmbda": 1.0, "max_completion_length": 16, "top_k": 2}
    run = stock_run(stock.conversations(toys.prompts(8)), tmp_path, student=student(), **arguments)
    answers = [row[row != -100].tolist() for row in run.trainer._buffered_inputs[0]["labels"]]
    behind = [answer[answer.index(END) + 1 :] for answer in answers if END in answer]
    still(any(behind) and not any(set(rest) - {TOKENIZER.pad_token_id} for rest in behind), 16, f"behind the stop: {behind}")

    unmoved = {"learning_rate": 0.0}
    trained = our_run(toys.prompts(8), tmp_path, student=student(), lmbda=1.0, max_completion_length=16, training=unmoved)
    rows = trained.row_maker.make(0, trained.accelerator, trained.student_copy)
    assert any(END in row.completion[:10] for row in rows)
    assert not any(END in row.completion[:-1] for row in rows)
    assert trained.run.rows[0]["train/unfinished"] == sum(END not in row.completion for row in rows) / 8


def test_defaults_that_ours_replace():
    """Fact 23: values of GOLDConfig that gold_style states itself."""
    stated = {"use_uld_loss": False, "learning_rate": 1e-7, "temperature": 0.9, "top_p": 0.95, "disable_dropout": True}
    for name, value in stated.items():
        still(getattr(DEFAULTS, name) == value, 23, f"{name} is {getattr(DEFAULTS, name)} by default")
    still(bool(DEFAULTS.gradient_checkpointing), 23, "gradient checkpointing is off by default")


def test_an_answer_that_stops_at_once_is_not_trained(tmp_path):
    """Fact 8, two tokenizers: an immediate stop gives neither loss nor gradient; with one tokenizer ours gives both."""
    student = toys.scripted_model(VOCAB, [END, 5])
    student.generation_config.eos_token_id = END
    scored = toy_runs.scored_positions(student)
    llama = toys.llama3_tokenizer()
    arguments = {"teacher_tokenizer": llama, "use_uld_loss": True, "lmbda": 1.0, **ONE_ROW}
    run = stock.train(student, toys.model(len(llama), seed=1), TOKENIZER, stock.conversations(toys.prompts(1)), tmp_path, **arguments)
    still(run.losses == [0.0] and not any(scored), 8, f"loss {run.losses}, scored {scored}")

    student = toys.scripted_model(VOCAB, [END, 5], sharpness=0.5)
    scored = toy_runs.scored_positions(student)
    trained = our_run(toys.prompts(1), tmp_path, student=student, lmbda=1.0, rows_per_window=1, sampling=GREEDY)
    row = trained.run.rows[0]
    assert row["train/completion_tokens"] == 1 and len(scored[0]) == 1
    assert row["train/loss"] > 0 and torch.isfinite(toy_runs.weights(trained.model)).all()
