"""How time, memory, traffic and cost grow with pair, window and GPUs: the arithmetic of `plan=`, written into docs/scale.md.

    python benchmarks/scale.py          a few seconds; no weights, no network, no GPU

Work, memory and seconds are gold_style/job/forecast.py's and memory.py's. Only what travels is counted here: hidden states from a
teacher elsewhere, and gradients between GPUs. A step's phases follow one another, as in the code.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from cells import RESULTS, write_page  # noqa: E402

from gold_style.config.settings import Settings  # noqa: E402
from gold_style.job.forecast import Forecast, Machine, changed  # noqa: E402
from gold_style.job.memory import phases  # noqa: E402
from gold_style.job.shapes import Shape, shape_of  # noqa: E402
from gold_style.job.shapes import table as facts_of  # noqa: E402
from gold_style.runs.files import write_text  # noqa: E402
from gold_style.show import svg  # noqa: E402
from gold_style.show.svg import Axes, Chart, Curve, straight, written  # noqa: E402

PAGE, DRAWINGS = ROOT / "docs" / "scale.md", ROOT / "docs" / "scale"
QWEN = {size: f"Qwen/Qwen2.5-{size}-Instruct" for size in ("0.5B", "1.5B", "3B", "7B", "14B", "32B", "72B")} | {"8B": "Qwen/Qwen3-8B"}
STUDENTS, TEACHERS = ("0.5B", "1.5B", "3B", "8B", "8B LoRA"), ("3B", "7B", "14B", "32B", "72B")
PAIRS = (("0.5B", "3B"), ("1.5B", "7B"), ("3B", "14B"), ("8B LoRA", "32B"), ("8B LoRA", "72B"))  # each student fits one card
SPREAD = (*PAIRS[1:3], ("8B", "32B"))  # over many GPUs
WINDOWS, GPUS, NEW = (8, 64, 512, 4096), (1, 8, 64), 128
TOKENS = {"prompt": 60, "prefix": 600, "rest": 60}  # as benchmarks/gpu.py measured them
GBIT = 1e9 / 8  # bytes a second
NVLINK, BETWEEN, NODE = 450e9, 400 * GBIT, 8  # bytes a second of one GPU, within a node of so many GPUs and between nodes
LINKS = (1, 10, 100, 400)  # Gbit/s between teacher and students
PRICE = 2.5  # dollars for an hour of one H100: an assumption
TOP_K, ENTRY = 64, 8  # candidates of a position, and bytes of each: id and log-probability in four bytes
H100 = Machine.named("h100", "bfloat16")
H20 = Machine("NVIDIA H20", 96e9, 4.0e12, 148e12)  # published peaks
BASE = Settings.compose("model=qwen7b_to_1p5b", "tracker=none", "hardware=multi_gpu")
RAY = {"teacher_backend.kind": "ray", "teacher_backend.address": "teacher:6379"}
KDFLOW = {  # arXiv 2603.01875v1, table 3, seconds an iteration: TRL, MS-SWIFT, KDFlow with a bf16 teacher
    ("1.7B", "14B"): (13.3, 11.5, 7.6),
    ("1.7B", "32B"): (23.4, 20.1, 10.9),
    ("4B", "14B"): (21.3, 16.6, 12.3),
    ("4B", "32B"): (31.5, 24.8, 15.7),
}
NAMES = {"rollout": "decode", "states": "network", "gradients": "network"}  # of phases, where several are one bottleneck


@cache
def planned(
    student: str, teacher: str, rows: int, gpus: int = 1, away: bool = False, sharded: bool = False, least: bool = False
) -> Forecast:
    """`rows` on each of `gpus`; `away`: the teacher on a GPU of its own; `sharded`: FSDP instead of DDP; `least`: row by row."""
    size, _, lora = student.partition(" ")
    overrides = {"model.teacher": QWEN[teacher], "model.student": QWEN[size], "train.gradient_accumulation_steps": rows}
    overrides |= {"model.lora.enabled": bool(lora)} | ({"hardware.tokens_per_microbatch": TOKENS["prompt"] + NEW - 1} if least else {})
    overrides |= {"hardware.num_processes": gpus, "hardware.name": "fsdp" if sharded else "multi_gpu", "evaluation.batch_size": 8}
    return Forecast(changed(BASE, overrides | (RAY if away else {})), H100, TOKENS)


def state_bytes(shape: Shape) -> int:
    """Of one scored position, in bfloat16."""
    return 2 * shape.hidden


def logit_bytes(shape: Shape) -> int:
    return 2 * shape.head // shape.hidden


def ratio(model: str) -> float:
    """Logits over hidden states."""
    return logit_bytes(shape_of("model.teacher", model)) / state_bytes(shape_of("model.teacher", model))


def exchanged(forecast: Forecast) -> float:
    """Bytes a step that a GPU sends for its gradients; with FSDP for its weights as well, twice a micro-batch, in float32."""
    work = forecast.work
    copies = 1 + 2 * math.ceil(work.rows / work.at_once) if work.sharded else 2
    return 4 * work.trained * copies * (work.processes - 1) / work.processes


def step(
    student: str, teacher: str, window: int, gpus: int = 1, away: bool = False, link: float = 10, logits: bool = False
) -> dict[str, float]:
    """Phase -> seconds of a step over `gpus`, by FSDP where DDP does not fit; one teacher away serves all of them over `link` Gbit/s."""
    forecast = fitting(student, teacher, window // gpus, gpus, away)
    seconds, shape = forecast.seconds(), forecast.work.teacher.shape
    if away:
        seconds["teacher"] *= gpus
        seconds["states"] = window * NEW * (logit_bytes if logits else state_bytes)(shape) / (link * GBIT)
    if gpus > 1:
        seconds["gradients"] = exchanged(forecast) / (NVLINK if gpus <= NODE else BETWEEN)
    return seconds


def fitting(student: str, teacher: str, rows: int, gpus: int, away: bool) -> Forecast:
    """DDP; FSDP where that is what fits."""
    sharded = planned(student, teacher, rows, gpus, away, sharded=gpus > 1)
    ddp = planned(student, teacher, rows, gpus, away)
    return sharded if sharded.fits and not ddp.fits else ddp


def bottleneck(seconds: dict[str, float]) -> tuple[str, float]:
    """The largest phase, and its share."""
    parts: dict[str, float] = {}
    for phase, spent in seconds.items():
        parts[NAMES.get(phase, phase)] = parts.get(NAMES.get(phase, phase), 0) + spent
    name = max(parts, key=parts.__getitem__)
    return name, parts[name] / sum(parts.values())


def clients(student: str, teacher: str, window: int) -> float:
    """So many GPUs with `window` rows each keep one teacher's GPU busy."""
    seconds = planned(student, teacher, window, away=True).seconds()
    return sum(seconds.values()) / seconds["teacher"]


def gigabytes(student: str, teacher: str, gpus: int = 1, away: bool = False, sharded: bool = False) -> float:
    """The least that a GPU needs: micro-batches of one row."""
    forecast = planned(student, teacher, 64, gpus, away, sharded, least=True)
    return forecast.needed(forecast.work) / 1e9


def teacher_gigabytes(teacher: str, quantization: str, phase: str) -> float:
    """On a card of its own: weights, prefixes, and what reading ("teacher") or writing ("exam") takes."""
    settings = changed(BASE, {"model.teacher": QWEN[teacher], "model.teacher_quantization": quantization, "evaluation.batch_size": 8})
    forecast = Forecast(settings, H100, TOKENS)
    found, own = phases(forecast.work)[phase], ("teacher weights", "caches", "activations", "decode weights")
    return (sum(found[part] for part in own) * forecast.rates["held"] + forecast.rates["reserved_gb"] * 1e9) / 1e9


# ---- published figures ---------------------------------------------------------------------------------------------------


def published_step(student: str, teacher: str, length: float) -> float:
    """Seconds a step in the setting of KDFLOW: 8 H20, 16 rows each in micro-batches of 2, rows of `length` tokens from a data set."""
    overrides = {"model.teacher": f"Qwen/Qwen3-{teacher}", "model.student": f"Qwen/Qwen3-{student}", "hardware.name": "fsdp"}
    overrides |= {"hardware.num_processes": 8, "train.per_device_train_batch_size": 2, "train.gradient_accumulation_steps": 8}
    overrides |= {"train.gradient_checkpointing": True, "hardware.tokens_per_microbatch": None}
    settings = changed(BASE, overrides | {"train.max_completion_length": round(length)})
    seconds = Forecast(settings, H20, {"prompt": 1, "prefix": 0, "rest": 0}).seconds()
    return sum(seconds.values()) - seconds["rollout"]


def mean_length() -> float:
    """Tokens a row at which our arithmetic gives KDFlow's seconds for 14B -> 1.7B."""
    (pair, (*_, seconds)), (short, long) = next(iter(KDFLOW.items())), (100, 4096)
    low, high = published_step(*pair, short), published_step(*pair, long)
    return short + (seconds - low) * (long - short) / (high - low)


# ---- the page ------------------------------------------------------------------------------------------------------------


def brief(value: float) -> str:
    """Two digits, or three: 0.042, 3.1, 240, 12,000."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}" if value < 1 else f"{value:.3g}" if value >= 10 else f"{value:.1f}"


def table(heading: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    heading = list(heading)
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, ["---", *["---:"] * (len(heading) - 1)], *rows)) + "\n"


def pair_name(student: str, teacher: str) -> str:
    return f"{teacher} -> {student}"


def room(size: float) -> str:
    """GB, bold where one H100 cannot hold it."""
    return brief(size) if size * 1e9 <= H100.memory else f"**{brief(size)}**"


def memory_tables() -> str:
    beside = [f"beside {teacher}" for teacher in TEACHERS]
    rows = [
        [student, *(room(gigabytes(student, teacher)) for teacher in TEACHERS)]
        + [room(gigabytes(student, "32B", away=True))]
        + ["-" if "LoRA" in student else room(gigabytes(student, "32B", n, True, True)) for n in GPUS[1:]]
        for student in STUDENTS
    ]
    kinds = {"bf16": ("none", "exam"), "bf16, scores only": ("none", "teacher"), "int8": ("int8", "exam"), "int4": ("int4", "exam")}
    alone = [[teacher, *(room(teacher_gigabytes(teacher, *kind)) for kind in kinds.values())] for teacher in TEACHERS]
    return (
        table(["student", *beside, "teacher away", *(f"away, FSDP on {n}" for n in GPUS[1:])], rows)
        + "\nA teacher on a card of its own:\n\n"
        + table(["teacher", *kinds], alone)
    )


def window_table() -> str:
    """Seconds and bottleneck, one student's GPU and one teacher's."""

    def cell(pair: tuple[str, str], window: int) -> str:
        seconds = step(*pair, window, away=True)
        name, share = bottleneck(seconds)
        return f"{brief(sum(seconds.values()))} s, {name} {share:.0%}"

    rows = [[pair_name(*pair), *(cell(pair, window) for window in WINDOWS)] for pair in PAIRS]
    return table(["pair", *(f"{window:,} rows" for window in WINDOWS)], rows)


def clients_table(student: str = "1.5B") -> str:
    rows = [[teacher, *(brief(clients(student, teacher, window)) for window in WINDOWS[:3])] for teacher in TEACHERS]
    return table([f"teacher of {student}", *(f"{window} rows a GPU" for window in WINDOWS[:3])], rows)


def gpu_table() -> str:
    """A window of 4,096 rows over more and more GPUs."""
    window, rows = WINDOWS[-1], []
    for pair in SPREAD:
        for gpus in GPUS:
            cells = []
            for away in (False, True):
                fits = fitting(*pair, window // gpus, gpus, away).fits
                seconds = step(*pair, window, gpus, away)
                whole = sum(seconds.values())
                hours = whole * (gpus + away) / 3600 * 10_000 / window
                name, share = bottleneck(seconds)
                cells += [f"{brief(whole)} s, {name} {share:.0%}", f"{brief(hours)} h, ${brief(hours * PRICE)}"] if fits else ["no", "-"]
            network = exchanged(fitting(*pair, window // gpus, gpus, True)) / 1e9
            rows.append([pair_name(*pair), str(gpus), *cells, brief(network) if network else "-"])
    heads = [
        "pair",
        "GPUs",
        "teacher on each",
        "10,000 completions",
        "one teacher more, away",
        "10,000 completions",
        "GB a GPU for gradients",
    ]
    return table(heads, rows)


def wire_table() -> str:
    rows = []
    for teacher in TEACHERS:
        shape = shape_of("model.teacher", QWEN[teacher])
        states, logits, top = state_bytes(shape), logit_bytes(shape), TOP_K * ENTRY
        cells = [*(size / 1e3 for size in (states, logits, top)), *(4096 * NEW * size / 1e9 for size in (states, logits))]
        rows.append([teacher, *map(brief, (*cells, filled(teacher, state_bytes), filled(teacher, logit_bytes)))])
    heads = ["teacher", "states, kB a token", "logits", f"top {TOP_K}", "states, GB for 4,096 rows", "logits", "states, Gbit/s", "logits"]
    return table(heads, rows)


def filled(teacher: str, size: Callable[[Shape], int]) -> float:
    """Gbit/s that one GPU fills while it scores 512 rows."""
    scored = 512 * NEW / planned("1.5B", teacher, 512, away=True).seconds()["teacher"]  # tokens a second
    return scored * size(shape_of("model.teacher", QWEN[teacher])) / GBIT


def link_table() -> str:
    """How much longer a step is with logits on the wire."""
    rows = []
    for pair in PAIRS[1:4]:
        ratios = (
            sum(step(*pair, 512, away=True, link=link, logits=True).values()) / sum(step(*pair, 512, away=True, link=link).values())
            for link in LINKS
        )
        rows.append([pair_name(*pair), *(f"{ratio:.2f}" for ratio in ratios)])
    return table(["pair, 512 rows", *(f"{link} Gbit/s" for link in LINKS)], rows)


def published_table() -> str:
    length, rows = mean_length(), []
    for pair, (trl, swift, kdflow) in KDFLOW.items():
        ours, longest = published_step(*pair, length), published_step(*pair, 4096)
        rows.append([pair_name(*pair), *map(brief, (trl, swift, kdflow, ours)), f"{ours / kdflow - 1:+.0%}", brief(longest)])
    return table(["pair", "TRL s", "MS-SWIFT s", "KDFlow s", "ours s", "off KDFlow's by", "ours with full rows"], rows)


def measured_table() -> str:
    """Section 4 of the only card that was measured."""
    lines = (json.loads(text) for text in (RESULTS / "gpu_NVIDIA_H100_80GB_HBM3.jsonl").read_text().splitlines())
    seen, rows = next(line["tables"]["ours"] for line in lines if line["section"] == 4), []
    for row, tokens in zip(seen, (None, 768, 4096, 4096), strict=True):
        overrides = {"model.teacher": QWEN["3B"], "evaluation.batch_size": 8, "hardware.tokens_per_microbatch": tokens}
        forecast = Forecast(changed(BASE, overrides | {"train.max_completion_length": row["new_tokens"]}), H100, TOKENS)
        seconds, peak = forecast.seconds(), max(parts.total() for parts in phases(forecast.work).values()) / 1e9
        cells = [(seconds[phase], row[f"{phase}_s"]) for phase in ("rollout", "teacher", "student", "optimizer")]
        cells += [(sum(seconds.values()), row["seconds"]), (peak, row["peak_gb"])]
        rows.append([f"{row['microbatch']}, {row['new_tokens']} tokens", *(f"{brief(a)} / {brief(b)}" for a, b in cells)])
    return table(["micro-batch, completions", "decode s", "teacher s", "student s", "optimizer s", "step s", "peak GB"], rows)


def advice() -> str:
    """What a reader should do, with the numbers of the tables."""
    beside = {student: [teacher for teacher in TEACHERS if gigabytes(student, teacher) * 1e9 <= H100.memory] for student in STUDENTS}
    kept = ", ".join(f"{teachers[-1]} beside {student}" for student, teachers in beside.items() if teachers)
    alone = ", ".join(student for student, teachers in beside.items() if not teachers)
    shared = {teacher: brief(clients("1.5B", teacher, 64)) for teacher in TEACHERS}
    slow = {pair: next(n for n in (2, 4, 8, 16) if bottleneck(step(*pair, 4096, n, True))[0] == "teacher") for pair in SPREAD[:2]}
    decoding = [pair_name(*pair) for pair in PAIRS if bottleneck(step(*pair, 64, away=True))[0] == "decode"]
    widest = max(filled(teacher, state_bytes) for teacher in TEACHERS), max(filled(teacher, logit_bytes) for teacher in TEACHERS)
    return (
        f"- **Keep the teacher beside the student while it fits.** One card with 80 GB holds {kept} (bf16). All weights of {alone} do not "
        "fit "
        "one such card: FSDP, or LoRA.\n"
        f"- **Share a larger one.** With 64 rows a GPU, one teacher's GPU is busy with {shared['7B']} students of 1.5B if it is a 7B, with "
        f"{shared['32B']} if it is a 32B, with {shared['72B']} if it is a 72B. With fewer it idles; with more they wait.\n"
        f"- **Do not hang one large run on one teacher.** With 4,096 rows the teacher is the bottleneck from {min(slow.values())} GPUs "
        "on. A copy on "
        "every GPU (`teacher_backend=local`) is faster and cheaper wherever it fits.\n"
        f"- **Small windows wait for decoding**: at 64 rows it is the largest phase of {', '.join(decoding)}. A larger window costs "
        "little there.\n"
        f"- **The network is no bottleneck with hidden states**: the fastest teacher here fills {brief(widest[0])} Gbit/s. With logits it "
        "would fill "
        f"{brief(widest[1])}."
    )


def curves() -> dict[str, Chart]:
    """File name -> drawing."""
    windows = [2**n for n in range(3, 13)]
    steps = {logits: [step("1.5B", "7B", window, away=True, logits=logits) for window in windows] for logits in (False, True)}
    shown = [("decode", "rollout", False), ("student", "student", False), ("teacher", "teacher", False)]
    shown += [("hidden states at 10 Gbit/s", "states", False), ("logits at 10 Gbit/s", "states", True)]
    by_window = [
        Curve(name, windows, [found[phase] for found in steps[logits]], colour=n, dashed=logits)
        for n, (name, phase, logits) in enumerate(shown)
    ]
    gpus = [2**n for n in range(7)]
    by_gpus = []
    for n, pair in enumerate(SPREAD):
        for away in (False, True):
            fits = [fitting(*pair, 4096 // count, count, away).fits for count in gpus]
            whole = [sum(step(*pair, 4096, count, away).values()) if fit else None for count, fit in zip(gpus, fits, strict=True)]
            if any(whole):
                by_gpus.append(
                    Curve(f"{pair_name(*pair)}, {'one teacher away' if away else 'a teacher on each'}", gpus, whole, colour=n, dashed=away)
                )
    return {
        "window": log_chart(by_window, "7B -> 1.5B, a GPU each: the phases of a step", "rows of a window", "seconds of a step"),
        "gpus": log_chart(by_gpus, "4,096 rows over more GPUs", "GPUs of the student", "seconds of a step"),
    }


def log_chart(shown: Sequence[Curve], title: str, x_label: str, y_label: str) -> Chart:
    """Both axes logarithmic, with powers of ten on the left and the drawn x at the bottom."""
    scaled = [
        Curve(c.name, [math.log10(x) for x in c.x], [y and math.log10(y) for y in c.y], colour=c.colour, dashed=c.dashed) for c in shown
    ]
    xs, ys = list(shown[0].x), [y for curve in scaled for y in curve.y if y is not None]
    axes = Axes((math.log10(xs[0]), math.log10(xs[-1])), (math.floor(min(ys)), math.ceil(max(ys))))
    floor, right = svg.HEIGHT - svg.BOTTOM, svg.WIDTH - svg.RIGHT
    parts = [straight("axis", svg.LEFT, floor, right, floor), written("label", (svg.LEFT + right) / 2, svg.HEIGHT - 6, x_label)]
    for power in range(int(axes.y[0]), int(axes.y[1]) + 1):
        parts.append(straight("grid", svg.LEFT, axes.py(power), right, axes.py(power)))
        parts.append(written("tick", svg.LEFT - 6, axes.py(power) + 4, f"{10.0**power:g}", anchor="end"))
    for x in xs[:: 1 if len(xs) < 8 else 3]:
        parts.append(written("tick", axes.px(math.log10(x)), floor + 16, f"{x:,}", anchor="end" if x > 1000 else "middle"))
    parts += [svg.written_upwards(12, floor / 2, y_label), *(svg.line(axes, curve) for curve in scaled)]
    return Chart(
        title, "".join(parts), [(curve.name + (" (dashed)" if curve.dashed else ""), svg.colour_of(curve.colour)) for curve in shown]
    )


def kdflow() -> str:
    """What the parts say that the totals hide."""
    length = mean_length()
    seconds = {pair: (found[2], published_step(*pair, length)) for pair, found in KDFLOW.items()}

    def more(larger: tuple[str, str], smaller: tuple[str, str]) -> str:
        theirs, ours = (seconds[larger][side] - seconds[smaller][side] for side in (0, 1))
        return f"{brief(theirs)} s there and {brief(ours)} s here"

    return (
        "Why: the parts differ more than the totals. A teacher of 32B instead of 14B adds "
        f"{more(('1.7B', '32B'), ('1.7B', '14B'))}: SGLang, split over eight cards, reaches more than the 40 % of the peak that is "
        "planned. A "
        f"student of 4B instead of 1.7B adds {more(('4B', '14B'), ('1.7B', '14B'))}: what FSDP2 sends is not in the forecast, and "
        "training reaches "
        "less of the peak. The unknown length takes up whatever is common to both."
    )


def text_of() -> str:
    """What goes between the markers."""
    scored = (
        2
        * shape_of("model.teacher", "Qwen/Qwen3-32B").parameters
        * 512
        * 1024
        / (2 * 312e12 * facts_of("cards")["rates"]["gpu"]["of_peak"])
    )
    parts = [
        "## What to do",
        advice(),
        "## Memory",
        "GB a GPU at the peak, all weights trained but for LoRA, micro-batches of one row. Bold: more than the 85 GB of an H100.",
        memory_tables(),
        "## Time, and what binds",
        "One GPU for the student, one for the teacher, 10 Gbit/s between them: seconds of a step, its largest phase and that phase's "
        "share.",
        window_table(),
        "![Seconds of each phase over the window](scale/window.svg)",
        "So many students' GPUs keep one teacher's GPU busy:",
        clients_table(),
        "## Many GPUs, and cost",
        "A window of 4,096 rows, by DDP or, where only that fits, FSDP. GPU hours include the teacher's GPU; dollars are at an assumed "
        f'${PRICE:.2f} an hour of one H100. "No": it does not fit.',
        gpu_table(),
        "![Seconds of a step over the number of GPUs](scale/gpus.svg)",
        "## On the wire",
        "What a teacher elsewhere sends, with states and logits in bf16; the last two columns are the Gbit/s that one H100 fills while it "
        "scores 512 "
        f"rows. Top {TOP_K} is {ENTRY} bytes a candidate; as JSON it is several times that.",
        wire_table(),
        "A step with logits on the wire, over the same with hidden states:",
        link_table(),
        "## Beside published figures",
        "### KDFlow",
        "[arXiv 2603.01875v1](https://arxiv.org/abs/2603.01875v1), table 3: Qwen3 on eight H20, 128 rows of at most 4,096 tokens a step "
        "from a data "
        "set, so nothing is decoded; teacher in bf16 on SGLang, student on FSDP2, 2 rows a micro-batch. How long its rows are it does not "
        "say. From "
        f"its first line our arithmetic takes {mean_length():,.0f} tokens a row; the other lines follow from that, off by:",
        published_table(),
        kdflow(),
        "Its 160 GB for the logits of 128 rows of 4,096 tokens are "
        f"{128 * 4096 * logit_bytes(shape_of('model.teacher', 'Qwen/Qwen3-14B')) / 1e9:.0f} GB here.",
        "### Nitrobrew",
        "The [post](https://blog.tilderesearch.com/blog/nitrobrew) says up to 60 times less traffic with hidden states than with logits. "
        "Ours: "
        f"{ratio('Qwen/Qwen3-4B'):.0f} for Qwen3-4B as the teacher, {ratio('Qwen/Qwen3-8B'):.0f} for 8B, {ratio('Qwen/Qwen3-32B'):.0f} "
        "for 32B; for a "
        f"hidden size of 2,048 {ratio('Qwen/Qwen3-1.7B'):.0f}, where NeMo RL [says about "
        "74](https://github.com/NVIDIA-NeMo/RL/pull/3978). It also says "
        "1.5 to 3 times the throughput of a whole step in NeMo RL and verl. In the last table that is what happens at about 10 Gbit/s; on "
        "faster links "
        "our ratio is smaller. Models, cards, network and lengths of that figure could not be read (extracts of the post and of "
        "[verl's pull request](https://github.com/verl-project/verl/pull/6194) were at hand, its code was not), so it is no more than a "
        "range; their "
        "gain includes a fused loss, which ours has on both sides.",
        "### A teacher behind a completion server",
        "Marin measured [1,461 s a step](https://github.com/marin-community/marin/issues/6218), 95.7 % of it in scoring: Qwen3-32B on two "
        "A100 gives "
        "the top 128 prompt log-probabilities of 512 answers of at most 1,024 tokens through vLLM. The products take at most "
        f"{brief(scored)} s in our arithmetic, {1461 * 0.957 / scored:.0f} times less: such a server is not bound by them, and no table "
        "here holds for "
        "`teacher_backend=openai`.",
        "## Against the one card that was measured",
        "Planned / measured, Qwen2.5 3B -> 1.5B, 8 rows, one H100 ([gpu.md](gpu.md)):",
        measured_table(),
    ]
    return "\n\n".join(part.rstrip() for part in parts)


def main() -> int:
    for name, chart in curves().items():
        write_text(DRAWINGS / f"{name}.svg", chart.file())
    write_page(PAGE, text_of(), "Scale, on paper")
    return 0


if __name__ == "__main__":
    sys.exit(main())
