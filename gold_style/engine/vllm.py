"""Rollouts by vLLM instead of our own decode loop (engine/rollout.py): in this process, or by a server.

    vllm = Served("http://127.0.0.1:8000", handover, student=name)   # or Colocated(model=name, ...)
    vllm.take(student_copy)                                          # its present weights
    completions = vllm.write(prompts, seeds, max_new_tokens=128, output_ids=output_ids, sampling=sampling)

Every row has its own seed, so a completion belongs to its row. vLLM's kernels depend on what a row is batched with, so that, other than
with our own loop, the same bits after a resume are likely and not promised. Weights are handed over before every window: a completion
of older weights would not be on-policy.
"""

import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from gold_style.engine.rollout import Completion, OutputIds, Sampling
from gold_style.runs.files import full_disk_explained
from gold_style.runs.web import NoReply, Service

NEVER = -100.0  # added to the logit of an id that must not be drawn: as low as the server's interface goes
CONNECTIONS = 64  # requests under way at a time; the server batches them
TIMEOUT_S = 600.0  # of one answer


def request_fields(num_logits: int, max_new_tokens: int, output_ids: OutputIds, sampling: Sampling) -> dict[str, Any]:
    """Under the names that vLLM's SamplingParams and its HTTP interface share; whatever a generation_config.json could set is set."""
    return {
        "max_tokens": max_new_tokens,
        **asdict(sampling),
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": list(output_ids.stop_ids),
        "ignore_eos": True,  # the stop ids above are the student's own
        "logit_bias": {i: NEVER for i in range(output_ids.vocab_size, num_logits)} or None,
    }


def with_head(model: PreTrainedModel, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's state with the head under its own name, even where it is tied to the embedding.

    vLLM 0.32 keeps the head of before when a reload leaves a tied one out, and says nothing.
    """
    names = {module: name for name, module in model.named_modules()}
    head, embedding = (f"{names[module]}.weight" for module in (model.get_output_embeddings(), model.get_input_embeddings()))
    return {head: state[embedding], **state} if embedding in state else state


class Colocated:
    """vLLM in this process, beside student and teacher on the same GPU; it starts with the first weights it is given.

    Between `rest` and the next `take` it sleeps: without weights and cache, whose memory the training then has (level 2, as TRL does
    it; only CUDA has it). `options` are those of vLLM's LLM. Raises ValueError where vLLM is not installed, or does not start.
    """

    def __init__(self, **options):
        if importlib.util.find_spec("vllm") is None:
            raise ValueError("hardware.rollouts=vllm_colocate: vLLM is not installed: pip install 'gold-style[vllm]'")
        self.sleeps, self.is_asleep = torch.cuda.is_available(), False
        self.options = {"skip_tokenizer_init": True, "generation_config": "vllm", "enable_sleep_mode": self.sleeps, **options}
        self.engine, self.num_logits = None, 0

    def take(self, student) -> None:
        """Replace the engine's weights by those of a distil.student_copy.StudentCopy."""
        if self.engine is None:
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine shares our memory, so weights need no way out of it
            from vllm import LLM

            try:
                self.engine = LLM(**self.options)
            except (RuntimeError, ValueError) as error:
                advice = "try another hardware.vllm_gpu_memory"
                raise ValueError(f"hardware.rollouts=vllm_colocate: vLLM did not start: {error}; {advice}") from error
        if self.is_asleep:  # room for the weights first: the copy that they come from is gone before the cache is there again
            self.engine.wake_up(tags=["weights"])
        model, state = student.for_files()
        state, self.num_logits = with_head(model, state), model.config.vocab_size
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(state.items())})
        if self.is_asleep:
            del state
            self.engine.wake_up(tags=["kv_cache"])
            self.is_asleep = False
        self.engine.reset_prefix_cache()

    def rest(self) -> None:
        """Give back the memory until the next `take`."""
        if self.sleeps:
            self.engine.sleep(level=2)
            self.is_asleep = True

    def write(self, prompts: Sequence[Sequence[int]], seeds: list[int], *, output_ids: OutputIds, **how) -> list[Completion]:
        """One completion for each prompt, in order. Arguments as in `rollout.generate`."""
        from vllm import SamplingParams

        fields = request_fields(self.num_logits, output_ids=output_ids, **how)
        sampled = [SamplingParams(**fields, seed=seed, detokenize=False) for seed in seeds]
        answers = self.engine.generate([{"prompt_token_ids": list(ids)} for ids in prompts], sampled, use_tqdm=False)
        return [Completion.ending(answer.outputs[0].token_ids, output_ids.stop_ids) for answer in answers]


class Served:
    """vLLM as a server: `VLLM_SERVER_DEV_MODE=1 vllm serve <student>`. Weights go there through files in `handover`.

    Raises ValueError, with the command to start one, for a server that cannot be reached or takes no weights. Every process of a run
    asks for its own rows; the main one hands the weights over.
    """

    def __init__(self, url: str, handover: Path, *, student: str):
        self.service = Service(url, ("VLLM_API_KEY",), "hardware.vllm_server", "/v1")
        self.service.where, self.handover, self.num_logits = f"hardware.vllm_server={self.service.url}", handover, 0
        self.start = f"start one with: VLLM_SERVER_DEV_MODE=1 vllm serve {student} --host 127.0.0.1 --port 8000"
        self.model = self._call("/v1/models", patience_s=0.0)["data"][0]["id"]
        try:
            self._call("/server_info", patience_s=0.0)
        except ValueError as error:
            raise ValueError(f"{self.service.where}: the server takes no weights; {self.start}") from error

    def take(self, student) -> None:
        """Let the server load the weights of a distil.student_copy.StudentCopy. Collective: every process of the run calls it."""
        model, state = student.for_files()
        state, self.num_logits = with_head(model, state), model.config.vocab_size
        if student.accelerator.is_main_process:
            self.handover.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.handover, ignore_cleanup_errors=True) as name:
                directory = Path(name)
                with full_disk_explained(self.handover, "the weights for vLLM"):
                    save_file({name: tensor.clone() for name, tensor in state.items()}, directory / "model.safetensors")
                directory.chmod(0o755)  # the server may run as another user
                self._call("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(directory.resolve())}})
                self._call("/reset_prefix_cache", {})
        student.accelerator.wait_for_everyone()

    def write(self, prompts: Sequence[Sequence[int]], seeds: list[int], *, output_ids: OutputIds, **how) -> list[Completion]:
        """One completion for each prompt, in order. Arguments as in `rollout.generate`."""
        fields = request_fields(self.num_logits, output_ids=output_ids, **how) | {"model": self.model, "return_token_ids": True}

        def one(prompt: list[int], seed: int) -> Completion:
            answer = self._call("/v1/completions", {**fields, "prompt": list(prompt), "seed": seed})
            return Completion.ending(answer["choices"][0]["token_ids"], output_ids.stop_ids)

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(one, prompts, seeds))

    def rest(self) -> None:
        """Nothing: the server has a GPU of its own."""

    def _call(self, path: str, body: dict | None = None, patience_s: float = 15.0) -> Any:
        """The server's reply to a GET, or to a POST of `body`. Raises ValueError when it refuses, or does not answer."""
        try:
            return self.service.ask(path, body, patience_s=patience_s, least_s=TIMEOUT_S)
        except NoReply as error:
            raise ValueError(f"{error}; {self.start}") from None
