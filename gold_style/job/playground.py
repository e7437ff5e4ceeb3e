"""A run that can be asked: the student before and after training, and the teacher, each loaded when it is first asked.

    run = AskedRun(settings, target)
    for cells, doing in run.answers("봄 축제를 알려 줘.", ["before", "after"], temperature=0, length=40):
        ...  # what is written so far

`python -m gold_style.play` shows it: `serve` in a page, by Gradio, of this machine only and asking nothing of the network; `converse` in a
terminal. What a model wrote is text there, never markup.
"""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from functools import cache, cached_property
from html import escape
from itertools import groupby, product, repeat
from pathlib import Path

import torch
import yaml
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from gold_style.config.settings import EvaluateSettings
from gold_style.config.target import Target
from gold_style.engine.exam import answer_of
from gold_style.engine.rollout import OutputIds, Sampling, stream
from gold_style.engine.teacher import AnyTeacher
from gold_style.job.evaluation import inputs_of, load, load_teacher
from gold_style.job.inputs import control_tokens
from gold_style.measure.answers import Answer, Judged, finished_part
from gold_style.measure.samples import MODELS
from gold_style.prompts import Prompt
from gold_style.prompts.rows import split_tag
from gold_style.prompts.texts import UNREADABLE, checked_text
from gold_style.runs.redact import say
from gold_style.show.words import language
from gold_style.speech import classify

Cells = dict[tuple[str, str | None], Answer]  # (one of MODELS, tag or None) -> what it has written; Judged once it is finished
EVERY_S = 0.1  # between two views of what is being written
LOCAL = {"server_name": "127.0.0.1", "share": False, "ssr_mode": False, "mcp_server": False, "run_history": False, "footer_links": []}
CSS, WORDS = (Path(__file__).with_name(name) for name in ("play.css", "play.yaml"))
TEXTS = {key: pair[language() == "ko"] for key, pair in yaml.safe_load(WORDS.read_text(encoding="utf-8")).items()}


class AskedRun:
    """A run and those of its models that were asked. Raises ValueError for what Inputs.load refuses."""

    def __init__(self, settings: EvaluateSettings, target: Target) -> None:
        self.inputs = inputs = inputs_of(settings, target)
        self.target, self.pack, self.tags = target, inputs.pack, (*inputs.pack.tags, None)
        self.title = f"{inputs.settings.model.name} · {self.pack.name} · {min(str(target.run), os.path.relpath(target.run), key=len)}"
        self.length = inputs.exam([]).max_completion_length  # tokens of an answer in the run's own evaluation
        self.held_out = [prompt.request for prompt in (*inputs.source.evaluation(), *inputs.source.selection())]

    @cached_property
    def teacher(self) -> AnyTeacher:
        return load_teacher(self.inputs, say)

    @cache  # noqa: B019 - a run is asked until the process ends
    def side(self, name: str, style: str | None = None) -> tuple:
        """One of MODELS, loaded once: (Backbone, OutputIds, tokenizer, Limits, what reads a Prompt). `style`: whose teacher, where tags
        have teachers of their own. Raises ValueError as `load`."""
        inputs, chat = self.inputs, self.inputs.chat
        if name == "teacher":
            own, whole = self.teacher.of(style), lambda prompt: (ids := chat.teacher_ids(prompt)).prefix + ids.rest
            return own.backbone, own.output_ids, own.tokenizer, inputs.teacher_limits[style], whole
        student, tokenizer = load(name, self.target, inputs, say), chat.student_tokenizer
        return student, OutputIds.of(tokenizer, student.model), tokenizer, inputs.student_limits, chat.student_ids

    def prompts(self, request: str) -> list[Prompt]:
        """The request under every tag and without one. Raises ValueError where that cannot be asked, by the rules for rows of a file."""
        text = checked_text(request, "request", control_tokens(self.inputs.chat))
        if tag := split_tag(text, self.pack, "request")[0]:
            raise ValueError(f"request: leave out <style:{tag}>: it is asked under every tag anyway")
        prompt = Prompt(request=text, style=self.pack.untagged, tag=None, origin="request")
        prompts = [prompt.under(tag, tag or self.pack.untagged) for tag in self.tags]
        if mistakes := [mistake for prompt in prompts for mistake in self.inputs.row_mistakes(prompt)]:
            raise ValueError(mistakes[0])
        return prompts

    def answers(self, request: str, models: Collection[str], temperature: float, length: int) -> Iterator[tuple[Cells, str]]:
        """What is written so far, every EVERY_S, and what is being done; at last all answers, with a remark, or why there are none.

        `temperature` 0 takes the likeliest token; `length` in tokens, as many as fit.
        """
        try:
            yield from self._answers(self.prompts(request), models, temperature, length)
        except (ValueError, RuntimeError) as error:  # what cannot be asked; a model that cannot be had or does not fit
            yield Cells(), str(error)

    def _answers(self, prompts: list[Prompt], models: Collection[str], temperature: float, length: int) -> Iterator[tuple[Cells, str]]:
        cells, loss = Cells(), self.inputs.settings.loss
        sampling = Sampling(temperature=temperature, top_p=loss.top_p, top_k=loss.top_k)
        groups = [[*own] for _, own in groupby(prompts, lambda prompt: id(self.inputs.chat.reader_of(prompt.style)))]  # one, of one teacher
        for name, own in product(sorted({*models}), groups):  # the student after training first
            yield cells, TEXTS["loading"].format(model=TEXTS[name])
            backbone, output_ids, tokenizer, limits, read = self.side(name, own[0].style if name == "teacher" else None)
            asked, seen = [read(prompt) for prompt in own], 0.0
            drawn = torch.rand(len(asked), min(length, limits.context_tokens - max(map(len, asked))), dtype=torch.float64)
            for completions in stream(backbone, asked, output_ids, sampling, drawn):
                if time.monotonic() - seen > EVERY_S:
                    seen, answers = time.monotonic(), map(answer_of, repeat(0), own, completions, repeat(tokenizer))
                    yield cells | {(name, answer.style): answer for answer in answers}, TEXTS["writing"].format(model=TEXTS[name])
            answers = self.inputs.judged(map(answer_of, repeat(0), own, completions, repeat(tokenizer)))
            cells = cells | {(name, answer.style): answer for answer in answers}
        end, rows = prompts[0].request.split()[-2:], self.inputs.training_prompts()  # the end of a request tells its form
        is_foreign = "gold_style/pairs/" in self.inputs.settings.model.student and end not in (row.request.split()[-2:] for row in rows)
        remark = TEXTS["foreign"].format(example=[*self.held_out, self.inputs.source[0].request][0]) if is_foreign else ""
        yield cells, remark if cells else TEXTS["nobody"]

    def badge(self, answer: Answer) -> str:
        """Of a finished answer: whether it is in the style asked for, its verdict, speech level and ending."""
        if not isinstance(answer, Judged):
            return ""
        fits = answer.verdict == self.pack.verdict_of(answer.style or self.pack.untagged)
        heard = classify(finished_part(answer.text) if answer.finished is False else answer.text, self.inputs.classifier.backend)
        return " · ".join(filter(None, [f"{'✓✗'[not fits]} {answer.verdict}", answer.level, answer.level and heard.ending]))


def converse(runs: Sequence[AskedRun], **how) -> None:
    """Answer the lines of the standard input; `how` as in AskedRun.answers."""
    say(TEXTS["prompt"])
    with open(0, encoding="utf-8", errors="replace", closefd=False) as typed:
        for request in typed:
            for run in runs:
                with Live() as live:
                    for cells, doing in run.answers(request, **how):
                        live.update(table(run, cells, doing) if cells else Text(doing))


def table(run: AskedRun, cells: Cells, doing: str) -> Table:
    """A column for each tag, a row for each model that was asked."""
    drawn = Table(
        "", *(Column(tag_text(tag), overflow="fold") for tag in run.tags), title=Text(run.title), caption=Text(doing), expand=True
    )
    for name in MODELS:
        if answers := [answer for tag in run.tags if (answer := cells.get((name, tag)))]:
            drawn.add_row(TEXTS[name], *(Text.assemble((run.badge(answer), "bold"), "\n", shown(answer)) for answer in answers))
    return drawn


def serve(runs: Sequence[AskedRun], models: Sequence[str], temperature: float, length: int) -> None:
    """Serve the page until Ctrl-C: text box, examples, settings as they are at first, and a panel for each run."""
    import gradio as gr  # the extra `play`

    def ask(request: str, *how) -> Iterator[list[str]]:
        panels = [panel(run, Cells(), "") for run in runs]
        for number, run in enumerate(runs):
            for cells, doing in run.answers(request, *how):
                panels[number] = panel(run, cells, doing)
                yield panels

    with gr.Blocks(title=TEXTS["title"], analytics_enabled=False) as blocks:
        gr.HTML(f"<h1>{TEXTS['title']}</h1><p>{TEXTS['subtitle']}</p>")
        request = gr.Textbox(label=TEXTS["request"], info=TEXTS["hint"], max_lines=8)
        button = gr.Button(TEXTS["ask"], variant="primary")
        if examples := [[request] for request in runs[0].held_out if len(request) < 80][:6]:
            gr.Examples(examples, request, label=TEXTS["examples"], cache_examples=False)
        with gr.Row():
            names = gr.CheckboxGroup([(TEXTS[name], name) for name in MODELS], value=list(models), label=TEXTS["models"])
            warmth = gr.Slider(0, 2, temperature, step=0.1, label=TEXTS["temperature"])
            tokens = gr.Slider(1, max(256, 2 * length), length, step=1, label=TEXTS["length"])
        with gr.Row():
            panels = [gr.HTML(panel(run, Cells(), ""), apply_default_css=False) for run in runs]
        # one request at a time, whichever tab it comes from: two would share the processor, and a tokenizer serves one thread
        gr.on([request.submit, button.click], ask, [request, names, warmth, tokens], panels, concurrency_limit=1, api_visibility="private")
    blocks.launch(**LOCAL, css_paths=CSS, theme=gr.themes.Base(font=["system-ui"], font_mono=["monospace"]))


def panel(run: AskedRun, cells: Cells, doing: str) -> str:
    """A run's answers: a column for each tag, in it a cell for each model that was asked. All text is escaped."""
    columns = ""
    for tag in run.tags:
        inside = "".join(cell(run, name, cells[name, tag]) for name in MODELS if (name, tag) in cells)
        columns += f"<section><h3><code>{escape(tag_text(tag))}</code></h3>{inside}</section>"
    head = f"<h2>{escape(run.title)}</h2><p role=status>{escape(doing)}</p>"
    return f'<article class=asked lang="{escape(run.pack.language)}">{head}<div class=tags>{columns}</div></article>'


def cell(run: AskedRun, name: str, answer: Answer) -> str:
    """Who answers, the badge once the answer is finished, and the answer."""
    verdict = getattr(answer, "verdict", "")
    kind = "target" if verdict == run.pack.target_verdict else verdict
    badge = f'<span class="verdict {escape(kind)}">{escape(run.badge(answer))}</span>'
    return f"<div class=answer><small>{TEXTS[name]}</small> {badge}<p>{escape(shown(answer))}</p></div>"


def tag_text(tag: str | None) -> str:
    """A tag as it is written before a request."""
    return f"<style:{tag}>" if tag else TEXTS["untagged"]


def shown(answer: Answer) -> str:
    """What a model wrote, without control characters; marked where the limit cut it."""
    return UNREADABLE.sub("\ufffd", answer.text) + (" …" if isinstance(answer, Judged) and not answer.finished else "")
