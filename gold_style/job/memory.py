"""Memory of a run by phase and part: arithmetic on the sizes of both models, without torch.

    phases(Work(student=..., teacher=..., ...))     # {"rollout": {"student weights": 6.2e9, ...}, "student": {...}, ...}

Everything is in bytes, of one process. The counts of saved activations follow the code that saves them (engine/packed_reading.py,
transformers' Llama-like layers under autocast, PEFT); benchmarks/plan_check.py holds them against measured peaks.
"""

from dataclasses import dataclass

QUANTIZED_BYTES = {"int8": 1 + 4 / 64, "int4": 0.5 + 4 / 64}  # of a weight, with a float32 scale for each block of 64
STATE_BYTES = {"8bit": 2, "4bit": 1, "muon": 4, "lion": 4, "adagrad": 4, "rmsprop": 4, "sgd": 0, "adafactor": 0}  # of a weight; else 8
CHUNK_BYTES = {True: 256 * 2**20, False: 8 * 2**20}  # of losses/fused.py, on a GPU and on a CPU
BLOCK_BYTES, MIN_CHUNK = 2**20, 128
READ_TOKENS = {True: 16_384, False: 1_024}  # that the teacher reads at a time, on a GPU with the prefix of each row
SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, as its config.json gives them; all numbers of weights or of a token's features."""

    layers: int
    hidden: int
    queries: int  # of all heads
    keys: int
    inner: int
    vocab: int
    embeddings: int  # weights of embedding and head
    parameters: int

    @classmethod
    def of(cls, config: dict, parameters: int | None = None) -> "Shape":
        """`parameters` where they are known better than by arithmetic. Raises KeyError for a size that the config lacks."""
        config = config.get("text_config") or config
        layers, hidden, heads, inner, vocab = (config[name] for name in SIZES)
        width = config.get("head_dim") or hidden // heads
        queries, keys = heads * width, (config.get("num_key_value_heads") or heads) * width
        embeddings = vocab * hidden * (1 if config.get("tie_word_embeddings") else 2)
        extra = {"qwen2": queries + 2 * keys, "qwen3": 2 * width}.get(config.get("model_type"), 0)  # biases; norms of heads
        own = embeddings + hidden + layers * (2 * hidden * (queries + keys) + 3 * hidden * inner + 2 * hidden + extra)
        return cls(layers, hidden, queries, keys, inner, vocab, embeddings, parameters or own)

    @property
    def trunk(self) -> int:
        """Weights of the layers."""
        return self.parameters - self.embeddings

    @property
    def cached(self) -> int:
        """Numbers in the keys and values of one token."""
        return 2 * self.layers * self.keys


@dataclass(frozen=True)
class Side:
    """A model as it is held: bytes of a number that it computes with, and how its layers are stored."""

    shape: Shape
    width: int
    quantization: str = "none"

    def weights(self, width: int) -> float:
        return self.shape.trunk * QUANTIZED_BYTES.get(self.quantization, width) + self.shape.embeddings * width


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one process holds, and does in a step."""

    student: Side
    teacher: Side
    lora_rank: int  # 0: all weights are trained
    held_once: bool  # the teacher is the student without its adapters
    optim: str
    checkpointing: bool
    on_gpu: bool
    sharded: bool
    processes: int
    rows: int  # of a window
    rows_per_microbatch: int
    prompt: int  # tokens that the student reads before its own
    prefix: int  # tokens of the teacher's constant prefix ...
    prefixes: int  # ... and how many there are
    rest: int  # tokens that the teacher reads after the prefix, before the completion
    new: int  # tokens of a completion, at most
    exam_rows: int  # prompts answered together
    teacher_writes: bool  # in training
    vllm: float | None  # bytes that vLLM takes where it writes the completions

    @property
    def row(self) -> int:
        return self.prompt + self.new - 1

    @property
    def trained(self) -> int:
        """Weights that are trained: all, or LoRA's on every linear layer but the head."""
        shape = self.student.shape
        adapted = 7 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 3 * shape.inner  # inputs and outputs of a layer's seven
        return self.lora_rank * shape.layers * adapted or shape.parameters

    @property
    def optimizer(self) -> float:
        """Bytes of its state. 8-bit optimizers and Muon leave the embedding to an ordinary Adam."""
        small = next((size for kind, size in STATE_BYTES.items() if kind in self.optim), 8)
        rest = 0 if self.lora_rank or not small else self.student.shape.embeddings
        return small * (self.trained - rest) + 8 * rest


def phases(work: Work) -> dict[str, dict[str, float]]:
    """Phase -> part -> bytes."""
    student, teacher, width, share = work.student.shape, work.teacher.shape, work.student.width, work.processes if work.sharded else 1
    own, head = width if work.lora_rank and not work.sharded else 4, student.vocab * student.hidden
    held = {
        "student weights": (work.student.weights(own) + (4 * work.trained if work.lora_rank else 0)) / share,
        "teacher weights": 0 if work.held_once else work.teacher.weights(work.teacher.width),
        # under LoRA its embedding is the student's own
        "rollout copy": 0 if own == width and not work.lora_rank else width * (student.trunk if own == width else student.parameters),
        "caches": work.prefix * work.prefixes * teacher.cached * work.teacher.width,
        "vLLM": work.vllm or 0,
    }
    trained = held | {"optimizer": work.optimizer / share}
    gradients = {"gradients": 4 * work.trained / share}
    gathered = {"gathered weights": 4 * (head + 2 * student.trunk / student.layers) if work.sharded else 0}
    foreach = work.on_gpu and work.optim == "adamw_torch"  # its temporary tensors are as large as the weights
    teacher_writes = _writing(work, work.teacher, work.rows, work.prefix + work.rest) if work.teacher_writes else {}
    found = {
        "exam": _plus(held, _writing(work, work.teacher, work.exam_rows, work.prefix + work.rest)),
        "rollout": _plus(trained, {} if work.vllm else _writing(work, work.student, max(work.rows, work.exam_rows), work.prompt)),
        "teacher": max(_plus(trained, _reading(work)), _plus(trained, teacher_writes), key=total),
        "student": _plus(trained, gathered, _training(work, gradients)),
        "optimizer": _plus(trained, gradients, {"buffers": 4 * (work.trained if foreach else min(work.trained, head)) / share}),
        "saving": _plus(trained, {"weights to save": 0 if own == width or work.lora_rank else width * student.parameters}),
    }
    return {phase: {part: size for part, size in parts.items() if size} for phase, parts in found.items()}


def total(parts: dict[str, float]) -> float:
    return sum(parts.values())


def _plus(*several: dict[str, float]) -> dict[str, float]:
    return {part: sum(parts.get(part, 0) for parts in several) for parts in several for part in parts}


def _writing(work: Work, side: Side, rows: int, read: int) -> dict[str, float]:
    """A batch of completions: weights laid out for the decode step, keys and values, logits."""
    shape, width = side.shape, side.width
    packs = not work.on_gpu and width == 4 and rows <= 64
    joined = shape.layers * shape.hidden * (shape.queries + 2 * shape.keys + 2 * shape.inner)
    return {
        "decode weights": width * (shape.trunk + shape.vocab * shape.hidden if packs else joined),
        "caches": rows * (read + work.new) * shape.cached * width,
        "activations": rows * (shape.vocab * (width + 28) + work.prompt * (4 * shape.hidden + 3 * shape.inner) * width),
    }


def _reading(work: Work) -> dict[str, float]:
    shape, width, read = work.teacher.shape, work.teacher.width, work.rest + work.new
    rows = max(1, min(work.rows, READ_TOKENS[work.on_gpu] // (read + (work.prefix if work.on_gpu else 0))))
    restored = 0 if work.teacher.quantization == "none" else shape.hidden * shape.inner * width
    return {
        "caches": rows * (work.prefix + read) * shape.cached * width if work.on_gpu else 0,
        "activations": (rows * read * (6 * shape.hidden + 3 * shape.inner) + work.rows * work.new * shape.hidden) * width + restored,
    }


def _training(work: Work, gradients: dict[str, float]) -> dict[str, float]:
    """One micro-batch at its largest: before its backward pass, or after it, where all gradients are there and no activations."""
    shape, width, rows = work.student.shape, work.student.width, min(work.rows, work.rows_per_microbatch)
    vocab, scored, half = min(shape.vocab, work.teacher.shape.vocab), rows * work.new, width < 4
    chunk = min(scored, max(CHUNK_BYTES[work.on_gpu] // (4 * vocab), MIN_CHUNK))
    block = chunk if work.on_gpu else min(chunk, max(1, BLOCK_BYTES // (4 * vocab)))
    loss = vocab * (8 * chunk + 8 * block + 4 * chunk * half) + scored * shape.hidden * 12
    if not work.lora_rank:  # the head's gradient in float32, its weights in the compute dtype, their product
        loss += shape.vocab * shape.hidden * (4 + (width + width * work.on_gpu) * half)
    before = {
        "cast weights": width * shape.trunk if half and not work.lora_rank else 0,
        "activations": rows * work.row * activations(work),
        "loss buffers": loss,
    }
    if rows < work.rows:
        return before | gradients
    after = gradients | {"loss buffers": 0 if work.lora_rank else 4 * shape.vocab * shape.hidden}
    return max(before, after, key=total)


def activations(work: Work) -> float:
    """Bytes that one token's forward pass leaves for its backward pass, in all layers."""
    shape, lora = work.student.shape, work.lora_rank > 0
    if work.student.width < 4:  # norms in float32, products in the compute dtype, each with a cast copy of its input of its own
        layer = (18 if lora else 26) * shape.hidden + (6 if lora else 4) * shape.queries + 4 * shape.keys + 8 * shape.inner
    else:  # a CPU reads packed rows, whose SwiGLU keeps only its inputs
        inner = 4 if lora or work.on_gpu or work.checkpointing else 3
        layer = 4 * ((4 if lora else 6) * shape.hidden + 3 * shape.queries + 2 * shape.keys + inner * shape.inner)
    layer += 14 * work.lora_rank
    if work.checkpointing:  # the layers' inputs, and one layer at a time
        return shape.layers * shape.hidden * (work.student.width if lora else 4) + layer
    return shape.layers * layer
