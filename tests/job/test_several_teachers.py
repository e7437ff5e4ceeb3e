"""A teacher for each tag (model.teachers): who reads what, how it is scored, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from gold_style.config.check.command_line import check
from gold_style.config.settings import Settings
from gold_style.distil.micro_batch import collate
from gold_style.distil.objective import Routed, TokenExact
from gold_style.distil.two_tokenizers import CrossTokenizer
from gold_style.engine.backbone import Backbone
from gold_style.engine.teacher import Teacher, Teachers
from gold_style.job.build import build_row_maker, load_student
from gold_style.job.evaluation import likelihood_ratios
from gold_style.job.forecast import read_rows
from gold_style.job.inputs import Inputs
from gold_style.job.memory import Work
from gold_style.job.playground import AskedRun
from gold_style.job.readings import readings
from gold_style.play import found
from tests.helpers.commands import SMALL, python

SAME = "gold_style/pairs/tiny/teacher"
OTHER = "gold_style/pairs/tiny_cross_tokenizer/teacher"
NO = "model.teacher=null"
TWO = ("model=tiny_cross_tokenizer", "model.teacher=null", f"model.teachers={{chosun: {SAME}, none: {OTHER}}}")
WRITES = ("loss.lmbda=0", "loss.seq_kd=true", "train.per_device_train_batch_size=16", "prompts.untagged_share=0.3")
TWICE = ("model.teacher=null", f"model.teachers={{chosun: {SAME}, none: {SAME}}}")
SINGLE = {"chosun": ("loss=tree", f"model.teacher={SAME}"), "none": ("loss=tree", f"model.teacher={OTHER}")}


def composed(*overrides: str) -> Settings:
    return Settings.compose("experiment=smoke", "tracker=none", *overrides)


def made(*overrides: str):
    settings = composed(*overrides, *WRITES)
    inputs, student = Inputs.load(settings), load_student(settings)
    return inputs, student, build_row_maker(settings, inputs, student)


@pytest.fixture(scope="module")
def routed():
    return made(*TWO)


@pytest.fixture(scope="module")
def singles():
    return {tag: made(*overrides)[2] for tag, overrides in SINGLE.items()}


def scored(maker, student, rows):
    """(loss, gradient, summed loss of each row) of these rows, taught by the teachers of `maker`."""
    rows = [replace(row, spans=[]) for row in rows]
    maker.objective.prepare(rows)
    batch = collate(rows, maker.read(rows), 0.01, 1, pad_id=0, device=torch.device("cpu"))
    student.zero_grad()
    backbone = Backbone(student)
    loss = maker.objective.loss(backbone, backbone.hidden(batch.student_ids_BT)[batch.row_N, batch.position_N], batch)
    loss.backward()
    row_N = batch.row_N if batch.stats_rows_N is None else batch.stats_rows_N
    sums_B = torch.zeros(len(rows)).index_add(0, row_N, batch.stats["loss_N"].float())
    return loss.detach(), [p.grad.clone() for p in student.parameters()], sums_B, batch


def test_every_row_is_taught_as_by_its_teacher_alone(routed, singles):
    """Written and scored: the loss, its gradient and the statistics are the sums of two runs with one teacher each."""
    _, student, maker = routed
    assert isinstance(maker.objective, Routed)
    assert [type(maker.objective.parts[tag]) for tag in ("chosun", "none")] == [TokenExact, CrossTokenizer]
    rows = maker.make(0, Accelerator(cpu=True), None)
    of_tag = {tag: [row for row in rows if row.prompt.style == tag] for tag in SINGLE}
    assert all(of_tag.values()) and any(row.prompt.tag is None for row in of_tag["none"])
    order = sorted(rows, key=lambda row: row.number % 3)  # the two mixed in another way
    loss, gradient, sums_B, batch = scored(maker, student, order)
    apart = {tag: scored(singles[tag], student, of_tag[tag]) for tag in SINGLE}
    assert loss == pytest.approx(float(apart["chosun"][0] + apart["none"][0]), rel=1e-5)
    for whole, *parts in zip(gradient, *(one[1] for one in apart.values()), strict=True):
        torch.testing.assert_close(whole, sum(parts), rtol=1e-3, atol=1e-6)
    expected = {row.number: float(value) for tag in SINGLE for row, value in zip(of_tag[tag], apart[tag][2], strict=True)}
    assert {row.number: float(value) for row, value in zip(order, sums_B, strict=True)} == pytest.approx(expected, rel=1e-4)
    kl_N = batch.stats["forward_kl_N"]  # which only the rows with one tokenizer have
    assert {order[b].prompt.style for b in batch.stats_rows_N[~kl_N.isnan()].tolist()} == {"chosun"}
    alone = {tag: [row for row in singles[tag].make(0, Accelerator(cpu=True), None) if row.prompt.style == tag] for tag in SINGLE}
    for tag in SINGLE:
        assert [row.completion for row in of_tag[tag]] == [row.completion for row in alone[tag]]


def test_who_is_asked_what(routed, singles):
    """The exam of the teachers is each one's own; without a tag, or with a misspelt one, the untagged style's is asked."""
    inputs, _, maker = routed
    teacher = maker.teacher
    assert isinstance(teacher, Teachers) and teacher.of(None) is teacher.of("none") is not teacher.of("chosun")
    assert teacher.of("chosun").prefixes is not teacher.of("none").prefixes
    requests = list(inputs.source.evaluation())[:3]
    exam = inputs.exam(requests, misspelt=2)
    answers = exam.teacher(teacher)
    for tag, single in singles.items():
        own = replace(exam, chat=single.chat).teacher(single.teacher)
        pairs = [pair for pair in zip(answers, own, strict=True) if (pair[0].style == "chosun") == (tag == "chosun")]
        assert len(pairs) == (3 if tag == "chosun" else 3 + 3 + 2) and all(ours.text == theirs.text for ours, theirs in pairs)
    rows = readings(inputs, teacher, requests, inputs.judged(answers))
    assert all((row["style"] == "chosun") == ("<|im_start|>" in row["teacher_reads"]) for row in rows) and len(rows) == 6
    assert likelihood_ratios(teacher, inputs, requests, answers) == [None] * len(answers)


def test_the_same_model_twice_is_one_teacher():
    inputs, _, maker = made("model.teacher=null", f"model.teachers={{chosun: {SAME}, none: ./{SAME}/}}")
    assert type(maker.teacher) is Teacher and type(maker.objective) is TokenExact and inputs.chat.teacher_tokenizers == {}


def test_the_plan_counts_all_teachers():
    def work(*overrides: str) -> Work:
        settings = composed(*overrides)
        return Work(settings, read_rows(settings)[0], on_gpu=False)

    apart = [work(*overrides).weights_of_teachers for overrides in SINGLE.values()]
    assert work(*TWO).weights_of_teachers == sum(apart)
    assert work(*TWICE).weights_of_teachers == apart[0]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((f"model.teachers={{chosun: {SAME}, none: {OTHER}}}",), "is replaced by model.teachers, which is given, too; add"),
        (("model.teacher=null",), "model.teacher=null: must be given, or else model.teachers={TAG: NAME, ...}"),
        ((NO, f"model.teachers={{chosun: {SAME}, nome: {OTHER}}}"), "nome is no tag of the pack, whose tags are chosun, none; did you"),
        ((NO, f"model.teachers={{chosun: {SAME}}}"), "needs a teacher for every tag; none is given for none"),
        ((NO, "model.teachers={}"), "none is given for chosun and none"),
        ((NO, f"model.teachers={{chosun: {SAME}, none: {OTHER}s}}"), f"model.teachers.none={OTHER}s: no such directory; did you mean "),
        ((NO, f"model.teachers={SAME}"), "must be a mapping or null"),
        ((*TWO[1:], "teacher_backend=openai", "loss=topk_tail"), "are several, and teacher_backend=openai asks one server"),
        (("model.teachrs=null",), "did you mean model.teachers?"),
    ],
)
def test_what_is_refused(overrides, said):
    with pytest.raises(ValueError) as refused:
        check(["tracker=none", *overrides], "config")
    assert said in str(refused.value)


def test_a_loss_for_one_tokenizer_is_refused_beside_another():
    with pytest.raises(ValueError, match="loss.kind=jsd compares token by token, but teacher and student have different tokenizers"):
        Inputs.load(composed(*TWO, "loss=jsd"))


@pytest.mark.slow
def test_two_teachers_of_one_model_train_as_one(tmp_path):
    """And the settings of such a run are repeated bit for bit."""
    one = python("train.py", *SMALL, "output_dir=one", cwd=tmp_path)
    two = python("train.py", *SMALL, *TWICE, "output_dir=two", cwd=tmp_path)
    assert one.code == two.code == 0, two.stderr[-3000:]
    name = "student/model.safetensors"
    assert (one.run / name).read_bytes() == (two.run / name).read_bytes()
    again = python("train.py", "reproduce=two", "output_dir=again", cwd=tmp_path)
    assert again.code == 0 and "the same bits" in again.stderr, again.stderr[-3000:]


@pytest.mark.slow
def test_two_teachers_of_two_tokenizers_teach_one_student(tmp_path):
    """The command of docs/how_to/several_teachers.md, and what the run then says of its teachers."""
    done = python("train.py", *TWO, "tracker=none", "output_dir=two", cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert done.code == 0, done.stderr[-3000:]
    summary = json.loads((done.run / "summary.json").read_text())
    assert summary["after"]["margin"] >= 0.9 and summary["teacher"]["margin"] >= 0.9
    assert json.loads((done.run / "run.json").read_text())["teachers"] == {"chosun": SAME, "none": OTHER}
    assert "teacher (&lt;style:chosun&gt;), " in (done.run / "report.html").read_text()
    card = (done.run / "student" / "README.md").read_text()
    assert "Teacher under `<style:chosun>`: " in card and "Teacher under `<style:none>`: " in card
    run = AskedRun(*found(str(done.run)))
    cells, doing = list(run.answers("동료에게 무지개를 소개해 줘.", ["teacher"], 0.0, 40))[-1]
    assert doing == "" and {tag: run.badge(cells["teacher", tag])[0] for tag in run.tags} == dict.fromkeys(run.tags, "✓")
    scored = python("evaluate.py", str(done.run), "prompts.eval_samples=4", "output_dir=scored", cwd=tmp_path)
    assert scored.code == 0, scored.stderr[-3000:]
    assert json.loads((scored.run / "summary.json").read_text())["teacher"]["margin"] == 1
