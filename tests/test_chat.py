"""What student and teacher read: one system block, one BOS, one generation prompt, whatever the template."""

import re
from dataclasses import replace
from datetime import date, datetime

import pytest
from transformers import AutoTokenizer

from gold_style.chat import Chat, encode, fix_arguments, render, stop_ids, takes_parts, template_stop_id
from gold_style.prompts import Prompt
from gold_style.styles import FewShot
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


# ---- examples as turns -----------------------------------------------------------------------------------------------

SHOWN = {"chosun": (("달?", "달이로소이다."), ("별?", "별이옵니다.")), "none": (("달?", "달입니다."), ("별?", "별이에요."))}
SHOTS = {tag: tuple(FewShot(request=request, answer=answer) for request, answer in pairs) for tag, pairs in SHOWN.items()}
WITH_SHOTS = replace(toys.PACK, few_shots=2, styles=tuple(replace(style, few_shots=SHOTS[style.tag]) for style in toys.PACK.styles))
IN_TURNS = replace(WITH_SHOTS, examples="turns")
UNTAGGED = Prompt(request="오늘은?", style="none", tag=None)


def test_examples_are_turns_between_system_text_and_request():
    text = Chat(CHATML, CHATML, IN_TURNS).teacher_text(PROMPT)
    turns = [("user", "<style:chosun> 달?"), ("assistant", "달이로소이다."), ("user", "<style:none> 달?"), ("assistant", "달입니다.")]
    turns += [("user", "<style:chosun> 별?"), ("assistant", "별이옵니다."), ("user", "<style:none> 별?"), ("assistant", "별이에요.")]
    turns = [("system", toys.PACK.teacher_system("chosun")), *turns, ("user", "<style:chosun> 봄 축제를 알려 줘.")]
    assert text == "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns) + "<|im_start|>assistant\n"
    assert "<style:none> 별?\n→ 별이에요." in Chat(CHATML, CHATML, WITH_SHOTS).teacher_system(PROMPT), "in the system text by default"
    assert Chat(CHATML, CHATML, IN_TURNS).student_text(PROMPT) == Chat(CHATML, CHATML, toys.PACK).student_text(PROMPT)


@pytest.mark.parametrize("tokenizer", [NO_SYSTEM, SILENT], ids=["no system", "silent"])
def test_without_system_turns_the_rules_are_in_the_first_examples_request(tokenizer):
    text = Chat(CHATML, tokenizer, replace(IN_TURNS, teacher_prompt="per_style", few_shots=1)).teacher_text(PROMPT)
    assert text == (
        "<|im_start|>user\n규칙을 따르라.\n조선 말투로 답하라.\n\n<style:chosun> 달?<|im_end|>\n"
        "<|im_start|>assistant\n달이로소이다.<|im_end|>\n"
        "<|im_start|>user\n<style:chosun> 봄 축제를 알려 줘.<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("teacher_prompt", ["combined", "per_style"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_prefix_of_a_style_holds_all_its_examples(name, teacher_prompt):
    tokenizer = TOKENIZERS[name]
    chat = Chat(CHATML, tokenizer, replace(IN_TURNS, teacher_prompt=teacher_prompt))
    for prompt in (PROMPT, PROMPT.under("none", "none"), UNTAGGED):
        ids, turns = chat.teacher_ids(prompt), chat.pack.example_turns(prompt.style, prompt.tag is not None)
        held = tokenizer.decode(ids.prefix)
        assert len(turns) == (8 if teacher_prompt == "combined" and prompt.tag else 4)
        assert all(text in held for _, text in turns) and prompt.request not in held
        assert tokenizer.decode(ids.prefix + ids.rest) == chat.teacher_text(prompt)
        assert chat.teacher_ids(replace(prompt, request="다른 말")).prefix == ids.prefix


def test_an_untagged_row_reads_no_tag_in_the_examples_either():
    text = Chat(CHATML, CHATML, IN_TURNS).teacher_text(UNTAGGED)
    assert "<style:" not in text and "달입니다." in text and "달이로소이다." not in text


def test_a_rows_own_turns_follow_the_examples():
    prompt = Prompt(
        request="그리고?", style="chosun", tag="chosun", before=(("user", "안녕"), ("assistant", "네.")), system="역사 선생이다."
    )
    for chat, rules in (
        (Chat(CHATML, CHATML, IN_TURNS), toys.PACK.teacher_system("chosun")),
        (Chat(CHATML, CHATML, IN_TURNS, teacher_system_prompt="옛말로 답하라."), "옛말로 답하라."),
    ):
        first, *turns = chat.teacher_messages(prompt)
        assert first == {"role": "system", "content": f"{rules}\n\n역사 선생이다."}
        assert [(turn["role"], turn["content"]) for turn in turns[:-3]] == [*IN_TURNS.example_turns("chosun")]
        assert turns[-3:] == prompt.messages()
        assert CHATML.decode(chat.teacher_ids(prompt).rest).startswith("<|im_start|>user\n안녕")


ONE_EXCHANGE = "{% if messages | length > 2 %}{{ raise_exception('one exchange only') }}{% endif %}" + toys.CHATML
DEAF = toys.CHATML.replace("+ m['content'] +", "+ (m['content'] if m['role'] != 'assistant' else '') +")


@pytest.mark.parametrize(
    ("template", "fault"),
    [(ONE_EXCHANGE, "fails with TemplateError: one exchange only"), (DEAF, "leaves out the assistant turn '달이로소이다.'")],
)
def test_a_template_that_writes_no_example_turns_is_refused_with_what_helps(template, fault):
    tokenizer = toys.byte_tokenizer(template=template)
    for own, remedy, helps in (
        (None, "styles.examples=system writes them into the system text", WITH_SHOTS),
        ("옛말로.", "styles.few_shots=0 leaves them out", replace(IN_TURNS, few_shots=0)),
    ):
        with pytest.raises(ValueError, match=f"styles.examples=turns: the teacher's .* {fault}; {remedy}"):
            Chat(CHATML, tokenizer, IN_TURNS, teacher_system_prompt=own).teacher_ids(PROMPT)
        assert Chat(CHATML, tokenizer, helps, teacher_system_prompt=own).teacher_ids(PROMPT).prefix


def test_a_template_that_fails_without_examples_too_is_refused_for_its_own_fault():
    broken = toys.byte_tokenizer(template="{{ raise_exception('wrong role') }}")
    with pytest.raises(ValueError, match=r"^the teacher's tokenizer .* wrong role$"):
        Chat(CHATML, broken, IN_TURNS).teacher_ids(PROMPT)


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


# ---- every turn is read ----------------------------------------------------------------------------------------------

TURN = "{{{{ '<|im_start|>' + m['role'] + '\n' }}}}{}{{{{ '<|im_end|>\n' }}}}"
PROMPTED = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
PARTS = "{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}"
TALK = Prompt(request="그리고 <가>?\n둘째 줄", style="chosun", tag="chosun", before=(("user", "Hello 안녕"), ("assistant", "네, \\n!")))


def with_content(content: str, turn: str = TURN):
    """A tokenizer whose template writes the content of a message `m` so."""
    return toys.byte_tokenizer(template="{% for m in messages %}" + turn.format(content) + "{% endfor %}" + PROMPTED)


def chat_of(tokenizer, **others) -> Chat:
    return Chat(tokenizer, tokenizer, toys.PACK, **others)


STRICT_PARTS = "{% for p in m['content'] %}{% if p is string %}{{ raise_exception('parts, please') }}{% endif %}{{ p.text }}{% endfor %}"


@pytest.mark.parametrize(
    "content", [PARTS, STRICT_PARTS, "{{ m['content'][0]['text'] }}", "{{ m['content'] | map(attribute='text') | join }}"]
)
def test_a_template_that_takes_parts_reads_every_turn_and_names_its_stop(content):
    tokenizer = with_content(content)
    reads_text = chat_of(CHATML, student_system_prompt="간단히.")
    reads_parts = chat_of(tokenizer, student_system_prompt="간단히.")
    for prompt in (PROMPT, TALK):
        assert reads_parts.student_text(prompt) == reads_text.student_text(prompt)
        assert reads_parts.teacher_text(prompt) == reads_text.teacher_text(prompt)
        assert reads_parts.teacher_ids(prompt).prefix == reads_text.teacher_ids(prompt).prefix != ()
    assert stop_ids(tokenizer) == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    assert takes_parts(tokenizer) and not takes_parts(CHATML)
    assert "the student's chat template takes content as a list of parts" in reads_parts.notes


@pytest.mark.parametrize("filters", ["trim", "upper", "e", "trim | lower | title", "tojson", "replace('\\n', ' ')"])
def test_a_template_may_trim_escape_and_change_case(filters):
    tokenizer = with_content(f"{{{{ m['content'] | {filters} }}}}")
    text = chat_of(tokenizer).teacher_text(TALK)
    assert text.count("<|im_start|>") == 5 and text.count("둘째 줄") == 1, "one system turn, three turns, one generation prompt"
    assert template_stop_id(tokenizer, stop_ids(tokenizer)) == tokenizer.convert_tokens_to_ids("<|im_end|>")


LAST_ONLY = "{% if loop.last or m['role'] == 'system' %}{{ m['content'] }}{% endif %}"
UNHEARD = "{% if m['role'] != 'assistant' %}{{ m['content'] }}{% endif %}"


@pytest.mark.parametrize(
    ("content", "role", "text"),
    [
        ("", "user", "Hello 안녕"),
        (LAST_ONLY, "user", "Hello 안녕"),
        (UNHEARD, "assistant", "네, "),
        ("{{ m['content'] | striptags }}", "user", "<style:chosun> 그리고"),
        ("{{ m['content'][:10] }}", "user", "<style:chosun> 그리고"),
        ("{% if m['content'] is not string %}{{ m['content'] }}{% endif %}", "user", "Hello 안녕"),
        ("{% if m['content'] is not string %}{{ m['content'] | tojson }}{% endif %}", "user", "Hello 안녕"),
    ],
)
def test_a_template_that_loses_a_turn_is_refused_with_side_model_and_turn(content, role, text):
    tokenizer = with_content(content)
    tokenizer.name_or_path = "some/model"
    for side, chat, read in (
        ("student", Chat(tokenizer, CHATML, toys.PACK), Chat.student_text),
        ("teacher", Chat(CHATML, tokenizer, toys.PACK, teacher_system_prompt=""), Chat.teacher_text),
    ):
        expected = f"the {side}'s tokenizer 'some/model' has a chat template that leaves out the {role} turn '{text}"
        with pytest.raises(ValueError, match=re.escape(expected)):
            read(chat, TALK)


def test_a_system_text_that_no_way_saves_is_refused():
    """The first turn is lost, whatever it holds."""
    tokenizer = with_content("{% if not loop.first %}{{ m['content'] }}{% endif %}")
    with pytest.raises(ValueError, match=r"the teacher's tokenizer .* leaves out the user turn '조선 말투로"):
        Chat(CHATML, tokenizer, toys.PACK, teacher_system_prompt="조선 말투로 답하라.").teacher_text(TALK)
    with pytest.raises(ValueError, match=r"the student's tokenizer .* leaves out the user turn '간단히"):
        Chat(tokenizer, CHATML, toys.PACK, student_system_prompt="간단히 답하라.").student_text(TALK)


def test_thoughts_may_be_cut_off_earlier_answers():
    tokenizer = with_content("{{ m['content'].split('</think>')[-1] }}")
    prompt = replace(TALK, before=(("user", "안녕"), ("assistant", "<think>\n생각\n</think>\n\n네.")))
    assert "생각" not in chat_of(tokenizer).student_text(prompt)


def test_turns_of_signs_only_are_looked_for_as_they_are():
    prompt = Prompt(request="😀?!", style="none", tag=None)
    assert "😀?!" in chat_of(CHATML).student_text(prompt)
    with pytest.raises(ValueError, match="leaves out the user turn '😀"):
        chat_of(with_content("")).student_text(prompt)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('Conversation roles must alternate') }}", "TemplateError: Conversation roles must alternate"),
        ("{% for tool in tools %}{{ tool }}{% endfor %}" + toys.CHATML, "TypeError: 'NoneType' object is not iterable"),
        ("{% for m in messages %}", "TemplateSyntaxError: Unexpected end of template"),
        ({"rag": toys.CHATML}, r"ValueError: This model has multiple chat templates with no default"),
    ],
)
def test_what_a_template_raises_is_quoted(template, words):
    broken = toys.byte_tokenizer(template=template)
    assert stop_ids(broken) == (broken.eos_token_id,)
    with pytest.raises(ValueError, match=f"the student's tokenizer .* has a chat template that fails with {words}"):
        chat_of(broken).student_text(PROMPT)


def test_of_several_templates_the_default_is_taken():
    several = toys.byte_tokenizer(template={"default": toys.CHATML, "rag": "{{ documents[0] }}"})
    assert chat_of(several).student_text(TALK) == chat_of(CHATML).student_text(TALK)


# ---- the clock -------------------------------------------------------------------------------------------------------

DATED = toys.byte_tokenizer(template="{{ '<|im_start|>' + strftime_now('%d %b %Y %H:%M:%S.%f') + '\n' }}" + toys.CHATML)
LLAMA32 = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
    "{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
)


def test_the_clock_of_a_template_is_midnight_of_one_date():
    chat = chat_of(DATED, today=date(2024, 2, 29))
    assert chat.student_text(PROMPT).startswith("<|im_start|>29 Feb 2024 00:00:00.000000\n")
    assert "29 Feb 2024 00:00:00" in DATED.decode(chat.teacher_ids(PROMPT).prefix)
    assert chat.notes == [
        f"the {side}'s chat template asks for the date and reads 2024-02-29 in the whole run (template_date in run.json)"
        for side in ("student", "teacher")
    ]
    assert chat_of(CHATML).notes == []
    another = replace(chat, today=date(2025, 1, 1))
    assert "01 Jan 2025" in another.student_text(PROMPT) and "01 Jan 2025" in DATED.decode(another.teacher_ids(PROMPT).prefix)


def test_a_date_that_falls_back_on_the_clock_is_the_runs():
    tokenizer = toys.byte_tokenizer(template=LLAMA32 + "{{ date_string }}" + toys.CHATML)
    assert chat_of(tokenizer, today=date(2024, 2, 29)).student_text(PROMPT).startswith("29 Feb 2024<|im_start|>")
    fix_arguments(tokenizer, {"date_string": "26 Jul 2024"}, "key")
    assert chat_of(tokenizer, today=date(2024, 2, 29)).student_text(PROMPT).startswith("26 Jul 2024<|im_start|>")


def test_a_template_that_is_rendered_elsewhere_keeps_its_clock():
    chat_of(DATED, today=date(2024, 2, 29)).student_text(PROMPT)
    plain = DATED.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert f"{datetime.now():%Y}" in plain and "29 Feb 2024" not in plain
    with pytest.raises(ValueError):
        render(toys.byte_tokenizer(template=DATED.chat_template + "{{ nothing.at.all }}"), PROMPT.messages(), date(2024, 2, 29))


# ---- arguments -------------------------------------------------------------------------------------------------------

THOUGHT = "{{ '<think>\n\n</think>\n\n' }}"
QWEN3 = toys.CHATML + "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}" + THOUGHT + "{% endif %}"
SMOL = "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}" + QWEN3.replace(
    "enable_thinking is defined and ", ""
)
NO_PREFERENCE = "{% if not thinking is defined %}{% set thinking = false %}{% endif %}{% if thinking %}Think!{% endif %}" + toys.CHATML
SYSTEM_ONLY = "{% if messages[0]['role'] == 'system' and (thinking is not defined or thinking) %}Think!{% endif %}" + toys.CHATML
EFFORT = "{% if reasoning is not defined %}{% set reasoning = 'high' %}{% endif %}{{ 'Reasoning: ' + reasoning }}" + toys.CHATML


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (QWEN3, {"enable_thinking": False}),
        (SMOL, {"enable_thinking": False}),
        (SYSTEM_ONLY, {"thinking": False}),
        (NO_PREFERENCE, {}),
        (EFFORT, {}),
        (toys.CHATML, {}),
        ({"default": QWEN3, "rag": toys.CHATML}, {"enable_thinking": False}),
    ],
)
def test_thinking_is_off_where_the_template_can(template, found, tmp_path):
    """Found by asking; and the tokenizer that is saved renders the same without any argument, or with the user's own."""
    asked, plain = toys.byte_tokenizer(template=template), toys.byte_tokenizer(template=template)
    assert fix_arguments(asked, None, "key") == found
    asked.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    for turns in (PROMPT.messages(), [{"role": "system", "content": "a"}, *TALK.messages()]):
        expected = plain.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **found)
        assert opened.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == expected == render(asked, turns)
        loud = [t.apply_chat_template(turns, tokenize=False, enable_thinking=True, thinking=True) for t in (opened, plain)]
        assert loud[0] == loud[1]
    assert fix_arguments(opened, None, "key") == {}, "a student that is distilled again has nothing to turn off"


def test_no_argument_leaves_the_template_its_own_choice():
    tokenizer = toys.byte_tokenizer(template=QWEN3)
    assert fix_arguments(tokenizer, {}, "key") == {} and tokenizer.chat_template == QWEN3


@pytest.mark.parametrize("value", [True, None, 3, -0.5, "말 'a' \"b\" \\n {{ x }} %}", [1, "a"], {"a": [True, None]}])
def test_arguments_of_every_kind_reach_the_template(value):
    template = "\n  {% if mode is not defined %}{{ raise_exception('mode?') }}{% endif %}\n {{ [mode] | tojson }}" + toys.CHATML
    tokenizer, plain = toys.byte_tokenizer(template=template), toys.byte_tokenizer(template=template)
    with pytest.raises(ValueError, match="mode\\?"):
        render(plain, PROMPT.messages())
    assert fix_arguments(tokenizer, {"mode": value}, "key") == {"mode": value}
    expected = plain.apply_chat_template(PROMPT.messages(), tokenize=False, add_generation_prompt=True, mode=value)
    assert render(tokenizer, PROMPT.messages()) == expected
    assert stop_ids(tokenizer) == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)


@pytest.mark.parametrize(
    "name", ["enable_thinkin", "messages", "tools", "add_generation_prompt", "strftime_now", "bos_token", "raise_exception"]
)
def test_an_argument_that_the_template_does_not_read_or_that_is_filled_in_is_refused(name):
    tokenizer = toys.byte_tokenizer(template="{{ bos_token }}{{ strftime_now('%d') }}{{ tools }}" + QWEN3)
    with pytest.raises(ValueError) as error:
        fix_arguments(tokenizer, {name: False}, "model.student_template_kwargs")
    assert str(error.value).startswith(f"model.student_template_kwargs.{name}: is no argument of the chat template of")
    assert "which reads enable_thinking" in str(error.value)
    assert ("did you mean enable_thinking?" in str(error.value)) == (name == "enable_thinkin")


@pytest.mark.parametrize("examples", ["system", "turns"])
@pytest.mark.parametrize("teacher_prompt", ["combined", "per_style"])
def test_without_its_context_the_teacher_reads_what_the_student_reads_in_its_own_template(examples, teacher_prompt):
    pack = replace(WITH_SHOTS, examples=examples, teacher_prompt=teacher_prompt)
    chat = Chat(CHATML, LLAMA3, pack, student_system_prompt="간단히 답하라.")
    other_way = Chat(LLAMA3, LLAMA3, pack, student_system_prompt="간단히 답하라.")  # a student with the teacher's template
    for prompt in (PROMPT, replace(PROMPT, tag=None), replace(PROMPT, system="역사 선생이다.")):
        ids = chat.teacher_ids(prompt, "none")
        assert (*ids.prefix, *ids.rest) == other_way.student_ids(prompt) and ids.prefix
        assert chat.teacher_ids(prompt) == chat.teacher_ids(prompt, "full") != ids


@pytest.mark.parametrize("examples", ["system", "turns"])
@pytest.mark.parametrize("teacher_prompt", ["combined", "per_style"])
def test_swapped_the_teacher_reads_each_tag_with_the_other_s_rule_and_examples(examples, teacher_prompt):
    pack = replace(WITH_SHOTS, examples=examples, teacher_prompt=teacher_prompt)
    chat, (first, second) = Chat(CHATML, CHATML, pack), pack.styles
    text = chat.teacher_text(PROMPT, "swapped")
    if teacher_prompt == "combined":
        assert f"<style:chosun>: {second.rule}" in text and f"<style:none>: {first.rule}" in text
    else:
        assert second.rule in text and first.rule not in text
    shot = second.few_shots[0]
    answer = f"<|im_end|>\n<|im_start|>assistant\n{shot.answer}" if examples == "turns" else f"\n→ {shot.answer}"
    assert f"<style:chosun> {shot.request}{answer}" in text
    ids = chat.teacher_ids(PROMPT, "swapped")
    assert (*ids.prefix, *ids.rest) == tuple(encode(CHATML, text)) and ids.rest == chat.teacher_ids(PROMPT).rest
    untagged = chat.teacher_text(Prompt(request="말", style="none", tag=None), "swapped")
    assert first.rule in untagged and second.rule not in untagged
