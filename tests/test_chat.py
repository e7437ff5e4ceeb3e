"""What student and teacher read: one system block, one BOS, one generation prompt, whatever the template."""

from dataclasses import replace

import pytest

from gold_style.chat import Chat, encode, render, stop_ids, template_stop_id
from gold_style.prompts import Prompt
from tests.helpers import toys

CHATML = toys.byte_tokenizer()
QWEN25 = toys.byte_tokenizer(template=toys.QWEN25)
LLAMA3 = toys.llama3_tokenizer()
NO_SYSTEM = toys.byte_tokenizer(template=toys.NO_SYSTEM)
SILENT = toys.byte_tokenizer(template=toys.SILENT_SYSTEM)
TOKENIZERS = {"ChatML": CHATML, "Qwen2.5": QWEN25, "Llama 3": LLAMA3, "no system": NO_SYSTEM, "silent": SILENT}
PROMPT = Prompt(request="봄 축제를 알려 줘.", style="chosun", tag="chosun")
RULES = "<style:chosun>: 조선 말투로 답하라."


@pytest.mark.parametrize("name", TOKENIZERS)
def test_teacher_reads_its_own_template_with_one_system_block(name):
    tokenizer = TOKENIZERS[name]
    text = Chat(CHATML, tokenizer, toys.PACK).teacher_text(PROMPT)
    assert text.count(RULES) == 1 and "You are Qwen" not in text
    assert text.count("<style:chosun> 봄 축제를 알려 줘.") == 1
    assert text.index(RULES) < text.index("봄 축제")
    if name == "Llama 3":
        assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n")
        assert text.count("<|begin_of_text|>") == 1 and text.count("system") == 1
        assert text.endswith("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    elif name in ("no system", "silent"):
        assert "<|im_start|>system" not in text and text.count("<|im_start|>") == 2
        assert text.startswith("<|im_start|>user\n" + toys.PACK.intro)
    else:
        assert text.startswith("<|im_start|>system\n") and text.count("<|im_start|>system") == 1
        assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_teacher_ids_are_the_rendered_text_once(name):
    """No second BOS and no stop token: the ids say what the template wrote, nothing more."""
    tokenizer = TOKENIZERS[name]
    chat = Chat(CHATML, tokenizer, toys.PACK)
    ids = chat.teacher_ids(PROMPT)
    assert tokenizer.decode(ids.prefix + ids.rest) == chat.teacher_text(PROMPT)
    if name not in ("no system", "silent"):
        rendered = tokenizer.apply_chat_template(chat.teacher_messages(PROMPT), add_generation_prompt=True)
        assert list(ids.prefix + ids.rest) == rendered["input_ids"]
    if name == "Llama 3":
        assert (ids.prefix + ids.rest).count(tokenizer.convert_tokens_to_ids("<|begin_of_text|>")) == 1


@pytest.mark.parametrize("name", TOKENIZERS)
def test_student_reads_no_system_turn(name):
    chat = Chat(TOKENIZERS[name], CHATML, toys.PACK)
    text = chat.student_text(PROMPT)
    assert RULES not in text and toys.PACK.intro not in text
    assert text.count("<style:chosun> 봄 축제를 알려 줘.") == 1
    assert ("You are Qwen" in text) == (name == "Qwen2.5"), "the template's own default is the student's at inference too"
    assert chat.student_ids(PROMPT) == tuple(encode(TOKENIZERS[name], text))


def test_tags_are_plain_text():
    """No token is added for a tag: the frozen teacher would read an untrained embedding row (upstream fact 20)."""
    before = len(CHATML)
    ids = Chat(CHATML, CHATML, toys.PACK).student_ids(PROMPT)
    tag = encode(CHATML, "<style:chosun>")
    assert len(CHATML) == before and len(tag) == len("<style:chosun>")
    assert any(list(ids[i : i + len(tag)]) == tag for i in range(len(ids)))


def test_system_prompts_of_both_sides():
    chat = Chat(CHATML, CHATML, toys.PACK, student_system_prompt="간단히 답하라.", teacher_system_prompt="옛말로 답하라.")
    assert chat.student_messages(PROMPT)[0] == {"role": "system", "content": "간단히 답하라."}
    assert chat.teacher_messages(PROMPT)[0] == {"role": "system", "content": "옛말로 답하라."}
    assert Chat(CHATML, CHATML, toys.PACK, teacher_system_prompt="").teacher_messages(PROMPT) == PROMPT.messages()


def test_both_sides_read_a_rows_own_system_turn_the_teacher_after_the_rules():
    prompt = Prompt(request="말", style="none", tag="none", system="역사 선생이다.")
    chat = Chat(CHATML, CHATML, toys.PACK, student_system_prompt="간단히 답하라.")
    assert chat.student_messages(prompt)[0]["content"] == "역사 선생이다."
    teacher = chat.teacher_messages(prompt)
    assert teacher[0]["content"] == toys.PACK.teacher_system("none") + "\n\n역사 선생이다."
    assert [message["role"] for message in teacher] == ["system", "user"]


@pytest.mark.parametrize("teacher_prompt", ["combined", "per_style"])
@pytest.mark.parametrize("untagged", ["none", "chosun"])
def test_an_untagged_row_is_scored_under_the_rule_of_its_own_style(teacher_prompt, untagged):
    """Under `combined` no tag would say which of the rules to follow. A misspelt tag is a tag."""
    pack = replace(toys.PACK, teacher_prompt=teacher_prompt, untagged=untagged)
    chat = Chat(CHATML, LLAMA3, pack)
    plain = Prompt(request="말", style=untagged, tag=None)
    text, other = chat.teacher_text(plain), {"none": "chosun", "chosun": "none"}[untagged]
    assert pack.style(untagged).rule in text and pack.style(other).rule not in text and "<style:" not in text
    ids = chat.teacher_ids(plain)
    assert ids.prefix and (*ids.prefix, *ids.rest) == tuple(encode(LLAMA3, text))
    tagged = [chat.teacher_ids(plain.under(tag, untagged)) for tag in (untagged, "choson")]
    assert all((ids.prefix == found.prefix) == (teacher_prompt == "per_style") for found in tagged)
    assert Chat(CHATML, LLAMA3, pack, teacher_system_prompt="옛말로 답하라.").teacher_system(plain) == "옛말로 답하라."
    assert chat.teacher_system(replace(plain, system="역사 선생이다.")).endswith("\n\n역사 선생이다.")


def test_several_turns_keep_their_order():
    prompt = Prompt(request="그리고?", style="chosun", tag="chosun", before=(("user", "안녕"), ("assistant", "네.")))
    text = Chat(CHATML, LLAMA3, toys.PACK).teacher_text(prompt)
    assert text.index(RULES) < text.index("안녕") < text.index("네.") < text.index("<style:chosun> 그리고?")


# ---- the cacheable prefix --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOKENIZERS)
def test_prefix_is_shared_and_cut_just_before_a_special_token(name):
    tokenizer = TOKENIZERS[name]
    chat = Chat(CHATML, tokenizer, toys.PACK)
    all_ids = [chat.teacher_ids(prompt) for prompt in toys.prompts(8)]
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    for ids in all_ids:
        assert ids.prefix == all_ids[0].prefix
        assert ids.rest[0] in special
    if name in ("no system", "silent"):  # rules and request stand in one turn, with no special token between them
        assert all_ids[0].prefix == ()
    else:
        assert RULES in tokenizer.decode(all_ids[0].prefix)


def test_each_system_text_has_its_own_prefix():
    chat = Chat(CHATML, CHATML, toys.PACK)
    own = Prompt(request="말", style="none", tag="none", system="역사 선생이다.")
    assert chat.teacher_ids(own).prefix != chat.teacher_ids(PROMPT).prefix
    assert "역사 선생이다." in CHATML.decode(chat.teacher_ids(own).prefix)


def test_merges_never_reach_across_the_cut():
    """A tokenizer that merges the newline before `user`'s first letters gives the same ids, cut or not."""
    merging = toys.byte_tokenizer((("u", "s"), ("us", "e"), ("use", "r"), ("user", "Ċ")))
    chat = Chat(merging, merging, toys.PACK)
    for prompt in toys.prompts(8):
        ids = chat.teacher_ids(prompt)
        assert list(ids.prefix + ids.rest) == encode(merging, chat.teacher_text(prompt))


def test_a_template_that_looks_at_the_whole_conversation_has_no_prefix():
    length = "{{ '<|im_start|>' + (messages[-1]['content'] | length) | string }}"
    counting = toys.byte_tokenizer(template=length + toys.CHATML)
    chat = Chat(counting, counting, toys.PACK)
    ids = [chat.teacher_ids(prompt) for prompt in toys.prompts(8)]
    assert any(row.prefix == () for row in ids)
    for row, prompt in zip(ids, toys.prompts(8), strict=True):
        assert list(row.prefix + row.rest) == encode(counting, chat.teacher_text(prompt))


# ---- stops and mistakes ----------------------------------------------------------------------------------------------


def test_stop_ids_are_the_union_of_what_may_end_an_answer():
    built = toys.model(len(CHATML))
    end, turn = CHATML.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    built.generation_config.eos_token_id = end
    assert stop_ids(CHATML, built) == (end, turn)
    built.generation_config.eos_token_id = [end, turn]
    assert stop_ids(CHATML, built) == (end, turn)
    built.generation_config.eos_token_id = None
    assert stop_ids(CHATML, built) == (turn,)
    assert stop_ids(CHATML) == (turn,)


def test_a_base_model_stops_where_its_template_ends_a_turn():
    """Base Qwen2.5: tokenizer and model know only `<|endoftext|>`, the template writes `<|im_end|>` (fact 16)."""
    base = toys.byte_tokenizer(eos="<|endoftext|>")
    built = toys.model(len(base))
    end, turn = base.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    built.generation_config.eos_token_id = end
    assert stop_ids(base, built) == (end, turn)
    assert template_stop_id(base, stop_ids(base, built)) == turn


@pytest.mark.parametrize(("tokenizer", "stop"), [(CHATML, "<|im_end|>"), (QWEN25, "<|im_end|>"), (LLAMA3, "<|eot_id|>")])
def test_the_stop_of_an_answer_is_the_templates(tokenizer, stop):
    everything = tuple(tokenizer.added_tokens_decoder)
    assert template_stop_id(tokenizer, everything) == tokenizer.convert_tokens_to_ids(stop)


def test_a_template_without_a_written_stop_falls_back_to_the_tokenizers():
    bare = toys.byte_tokenizer(template="{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}")
    assert template_stop_id(bare, stop_ids(bare)) == bare.eos_token_id
    assert stop_ids(bare) == (bare.eos_token_id,)


def test_a_tokenizer_without_template_is_refused():
    bare = toys.byte_tokenizer()
    bare.chat_template = None
    with pytest.raises(ValueError, match="has no chat template: use an instruct model"):
        render(bare, PROMPT.messages())


def test_other_template_errors_are_not_swallowed():
    broken = toys.byte_tokenizer(template="{{ raise_exception('wrong role') }}")
    with pytest.raises(Exception, match="wrong role"):
        render(broken, PROMPT.messages())
