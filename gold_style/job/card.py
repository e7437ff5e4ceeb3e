"""The model card of student/: what it was distilled from, how to ask it, and what was measured."""

from pathlib import Path
from typing import Any

from gold_style.chat import takes_parts
from gold_style.job.inputs import Inputs
from gold_style.show.summary_table import summary_markdown
from gold_style.styles import tagged

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
language: ko
tags: [gold-style, distillation, on-policy, style-toggle]
---
# {student_name}, distilled to toggle style

Answers {tags} without a system prompt. Distilled from `{teacher}` into `{student}` with
gold_style (a subclass of TRL's GOLDTrainer): loss {kind}, beta {beta}, lmbda {lmbda}, {steps} steps, seed {seed}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("student")
model = AutoModelForCausalLM.from_pretrained("student")
messages = [{{"role": "user", "content": {content}}}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs, max_new_tokens={max_new_tokens}, do_sample=False)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```

The chat template matters: the student was trained on it, with the tag at the start of the user's turn.

Measured on held-out requests, greedy:

{measured}
The teacher's system prompt is not part of this model and is not needed.
"""


def write_card(directory: Path, inputs: Inputs, summary: dict[str, Any]) -> None:
    """README.md in `directory`; numbers that were not measured stay out."""
    settings, pack = inputs.settings, inputs.pack
    request = tagged(pack.tags[0], inputs.source[0].request)
    text = CARD.format(
        student_name=Path(settings.model.student).name,
        tags=" and ".join(f"`<style:{tag}>`" for tag in pack.tags),
        teacher=settings.model.teacher,
        student=settings.model.student,
        kind=settings.loss.kind,
        beta=settings.loss.beta,
        lmbda=settings.loss.lmbda,
        steps=summary["steps"],
        seed=settings.seed,
        content=f'[{{"type": "text", "text": "{request}"}}]' if takes_parts(inputs.chat.student_tokenizer) else f'"{request}"',
        max_new_tokens=settings.train["max_completion_length"],
        measured=summary_markdown(summary),
    )
    (directory / "README.md").write_text(text, encoding="utf-8")
