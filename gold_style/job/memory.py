"""Memory of a run by phase and part: arithmetic on its settings and on the sizes of both models, without torch.

    phases(Work(settings, read_rows(settings), on_gpu=True))     # {"rollout": {"student weights": 6.2e9, "optimizer": 12.3e9, ...}, ...}

Everything is in bytes, of one process. The counts of saved activations follow the code that saves them (engine/packed_reading.py,
transformers' Llama-like layers under autocast, PEFT); benchmarks/plan_check.py holds them against measured peaks.
"""

from collections import Counter
from collections.abc import Mapping

from gold_style.config.losses import further_readings
from gold_style.config.own_teacher import BYTES, is_own_teacher, teachers_by_key
from gold_style.config.schedule import lowest
from gold_style.config.schema import Model
from gold_style.config.settings import Settings
from gold_style.job.shapes import shape_of, table
from gold_style.job.steps import rows_per_window

QUANTIZED_BYTES = {"int8": 1 + 4 / 64, "int4": 0.5 + 4 / 64}  # of a weight, with a float32 scale for each block of 64
STATE_BYTES = {"8bit": 2, "4bit": 1, "muon": 4, "lion": 4, "adagrad": 4, "rmsprop": 4, "sgd": 0, "adafactor": 0}  # of a weight; else 8
MIN_CHUNK = 128  # rows, in losses/fused.py
PREFIXES = 2  # of the teacher: with a tag, and without
WRITTEN_ROWS = 256  # at a time, at most


class Side:
    """Teacher or student: sizes, bytes of a number that it computes with, how its layers are stored. Raises ValueError as shape_of."""

    def __init__(self, model: Model, name: str, key: str = ""):
        self.shape = shape_of(key or f"model.{name}", getattr(model, name))
        self.width = BYTES[getattr(model, f"{name}_dtype", None) or model.dtype]
        self.quantization = getattr(model, f"{name}_quantization")
        self.restored = 0 if self.quantization == "none" else self.shape.hidden * self.shape.inner  # numbers at a time, where they are used

    def weights(self, width: int) -> float:
        return self.shape.trunk * QUANTIZED_BYTES.get(self.quantization, width) + self.shape.embeddings * width


class Work:
    """What one process holds, and does in a step.

    Args: tokens of the longest prompts, as gold_style.job.forecast.read_rows counts them; rows of a micro-batch (None: as the settings
    say, a window where they leave it to the run); bytes of the card. Raises ValueError for a model whose sizes are not known.
    """

    def __init__(self, settings: Settings, tokens: Mapping[str, int], on_gpu: bool, at_once: int | None = None, card: float = 0):
        model, train, hardware, loss = settings.model, settings.train, settings.hardware, settings.loss
        models = {id(own): (key, own) for key, own in teachers_by_key(settings).items()}.values()
        self.teachers = [Side(own, "teacher", key) for key, own in models]
        self.teacher = max(self.teachers, key=lambda side: side.shape.parameters)  # of several, the one that takes most room at work
        self.student, self.tokens, self.on_gpu = Side(model, "student"), tokens, on_gpu
        self.rates = table("cards")["rates"]["gpu" if on_gpu else "cpu"]
        self.new, self.rows = train["max_completion_length"], rows_per_window(settings)
        self.row, asked = tokens["prompt"] + self.new - 1, hardware.tokens_per_microbatch
        own = self.rows if asked == "auto" and on_gpu else train["per_device_train_batch_size"]
        asked = asked // self.row if isinstance(asked, int) else own
        self.at_once = max(1, min(at_once or asked, self.rows))
        self.processes, self.sharded = hardware.num_processes or 1, hardware.name == "fsdp"
        self.share = self.processes if self.sharded else 1
        shape, self.lora, self.optim = self.student.shape, model.lora.r if model.lora.enabled else 0, train["optim"]
        of_a_layer = 7 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 3 * shape.inner  # inputs and outputs of its seven products
        self.trained = self.lora * shape.layers * of_a_layer or shape.parameters
        alike = self.student.width == self.teacher.width and self.student.quantization == self.teacher.quantization
        backend = settings.teacher_backend
        self.told, width = 8 * loss.tail_k if backend.kind == "openai" else 0, self.teacher.width  # bytes of a token
        self.teacher_is_elsewhere = backend.kind != "local" and backend.address is not None
        held_once = backend.kind == "local" and bool(self.lora) and alike and not self.sharded
        held = [side for side, (_, own) in zip(self.teachers, models, strict=True) if not (held_once and is_own_teacher(own))]
        heads = sum(side.shape.head * width * (not self.told) for side in held)
        self.weights_of_teachers = heads if self.teacher_is_elsewhere else sum(side.weights(width) for side in held)
        self.readings = 1 + len(further_readings(loss))  # of each row by the teacher
        self.packed = not (on_gpu or self.lora or train["gradient_checkpointing"]) and self.student.width == 4
        self.checkpointing, self.exam_rows = bool(train["gradient_checkpointing"]), settings.evaluation.batch_size
        self.teacher_writes = bool(loss.warm_start_steps or (loss.seq_kd and lowest(loss.lmbda) < 1))
        self.vllm = hardware.vllm_gpu_memory * card if hardware.rollouts == "vllm_colocate" else 0

    @property
    def optimizer(self) -> float:
        """Bytes of its state. 8-bit optimizers and Muon leave the embedding to an ordinary Adam."""
        small = next((size for kind, size in STATE_BYTES.items() if kind in self.optim), 8)
        rest = 0 if self.lora or not small else self.student.shape.embeddings
        return small * (self.trained - rest) + 8 * rest


def phases(work: Work) -> dict[str, Counter[str]]:
    """Phase -> part -> bytes."""
    student, teacher, width, share, tokens = work.student.shape, work.teacher.shape, work.student.width, work.share, work.tokens
    cached = sum(side.shape.cached for side in work.teachers)
    own, read = width if work.lora and not work.sharded else 4, tokens["prefix"] + tokens["rest"]
    held = Counter(
        {
            "student weights": (work.student.weights(own) + (4 * work.trained if work.lora else 0)) / share,
            "teacher weights": work.weights_of_teachers,
            # under LoRA its embedding is the student's own
            "rollout copy": 0 if own == width and not work.lora else width * (student.trunk if own == width else student.parameters),
            "caches": 0 if work.teacher_is_elsewhere else tokens["prefix"] * PREFIXES * cached * work.teacher.width,
            "vLLM": work.vllm,
        }
    )
    trained, gradients = held + Counter(optimizer=work.optimizer / share), Counter(gradients=4 * work.trained / share)
    gathered = Counter({"gathered weights": 4 * (student.head + 2 * student.trunk / student.layers) if work.sharded else 0})
    foreach = work.on_gpu and work.optim == "adamw_torch"  # its temporary tensors are as large as the weights
    update = Counter(buffers=4 * (work.trained if foreach else min(work.trained, student.head)) / share)
    taught = [_reading(work), *([_writing(work, work.teacher, work.rows, read)] if work.teacher_writes else [])]
    exam = _writing(work, work.teacher, work.exam_rows, read)
    if work.teacher_is_elsewhere:  # only its states come here, or what is told of them
        taught, exam = [Counter(activations=work.rows * work.new * (work.told or teacher.hidden * work.teacher.width))], Counter()
    return {
        "exam": held + exam,
        "rollout": trained + _writing(work, work.student, max(work.rows, work.exam_rows), tokens["prompt"]),
        "teacher": trained + max(taught, key=Counter.total),
        "student": trained + gathered + _training(work, gradients),
        "optimizer": trained + gradients + update,
        "saving": trained + Counter({"weights to save": 0 if own == width or work.lora else width * student.parameters}),
    }


def _writing(work: Work, side: Side, rows: int, read: int) -> Counter[str]:
    """A batch of completions: weights laid out for the decode step (a quantised teacher's are not), keys and values, logits."""
    shape, width, rows, vocab = side.shape, side.width, min(rows, WRITTEN_ROWS), side.shape.head // side.shape.hidden
    packs = not work.on_gpu and width == 4 and rows <= 64
    joined = shape.layers * shape.hidden * (shape.queries + 2 * shape.keys + 2 * shape.inner)
    activations = rows * (vocab * (width + 28) + work.tokens["prompt"] * (4 * shape.hidden + 3 * shape.inner) * width)
    weights = width * (side is work.teacher and side.restored or (shape.trunk + shape.head if packs else joined))
    return Counter({"decode weights": weights, "caches": rows * (read + work.new) * shape.cached * width, "activations": activations})


def _reading(work: Work) -> Counter[str]:
    shape, width, restored, read = work.teacher.shape, work.teacher.width, work.teacher.restored, work.tokens["rest"] + work.new
    prefix = work.tokens["prefix"] if work.on_gpu else 0  # a CPU reads it where it lies
    rows = max(1, min(work.rows, work.rates["read_tokens"] // (read + prefix)))
    states = rows * read * (6 * shape.hidden + 3 * shape.inner) + work.rows * work.new * shape.hidden * work.readings
    return Counter(caches=rows * (prefix + read) * shape.cached * width if prefix else 0, activations=(states + restored) * width)


def _training(work: Work, gradients: Counter[str]) -> Counter[str]:
    """One micro-batch at its largest: before its backward pass, or after it, where all gradients are there and no activations."""
    shape, width, scored, half = work.student.shape, work.student.width, work.at_once * work.new, work.student.width < 4
    vocab = min(side.shape.head // side.shape.hidden for side in (work.student, work.teacher))
    chunk = min(scored, max(work.rates["chunk_bytes"] // (4 * vocab), MIN_CHUNK))
    block = min(chunk, max(1, work.rates["block_bytes"] // (4 * vocab)))
    # the head's gradient in float32, its weights in the compute dtype, their product
    of_head = 0 if work.lora else shape.head * (4 + (width + width * work.on_gpu) * half)
    # of one layer the gradients are there as well; the last one's MLP is not computed for prompts where rows are packed
    unread = 12 * work.tokens["prompt"] * (shape.hidden + shape.inner) if work.packed else 0
    before = Counter(
        {
            "cast weights": width * shape.trunk if half and not work.lora else 0,
            "activations": work.at_once * (work.row * (activations(work) + 2 * width * shape.inner) - unread),
            "loss buffers": of_head + vocab * (8 * chunk + 8 * block + 4 * chunk * half) + scored * shape.hidden * 12,
        }
    )
    after = gradients + Counter({"loss buffers": 0 if work.lora else 4 * shape.head})
    return before + gradients if work.at_once < work.rows else max(before, after, key=Counter.total)


def activations(work: Work) -> float:
    """Bytes that one token's forward pass leaves for its backward pass, in all layers."""
    shape, lora = work.student.shape, work.lora > 0
    if work.student.width < 4:  # norms in float32, products in the compute dtype, each with a cast copy of its input of its own
        layer = (18 if lora else 26) * shape.hidden + (6 if lora else 4) * shape.queries + 4 * shape.keys + 8 * shape.inner
    else:  # the SwiGLU of packed rows keeps only its inputs
        inner = 3 if work.packed else 4
        layer = 4 * ((4 if lora else 6) * shape.hidden + 3 * shape.queries + 2 * shape.keys + inner * shape.inner)
    layer += 14 * work.lora
    inputs = shape.layers * shape.hidden * (work.student.width if lora else 4)  # of the layers: with checkpointing, one layer at a time
    return inputs + layer if work.checkpointing else shape.layers * layer
