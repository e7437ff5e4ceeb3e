"""A served model on loopback: POST /v1/completions and GET /v1/models as vLLM answers them, with every trouble that one meets there.

Example: `with CompletionsServer(model, tokenizer) as server: Completions(server.backend(), "teacher")`.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from gold_style.config.schema import TeacherBackend

ID = "token_id:{}".format


class CompletionsServer:
    """Context manager. `max_logprobs`: more are refused, as by vLLM; `cap`: no more are told, without a word. `trouble`: what is wrong
    with every answer, may be set at any time: a status ("401", "503", ...), "redirect", "garbled", "hang", "no echo", "no logprobs",
    "texts" (tokens named by their texts), "bos" (puts a token before every prompt), "logits" (not normalised).
    `bodies` and `keys`: what was received.
    """

    def __init__(self, model, tokenizer, names=("teacher",), *, max_logprobs=64, cap=None, max_model_len=512, trouble=None, seconds=0.0):
        self.model, self.tokenizer, self.names, self.trouble, self.seconds = model.eval(), tokenizer, names, trouble, seconds
        self.max_logprobs, self.cap, self.max_model_len = max_logprobs, cap, max_model_len
        self.bodies: list[dict] = []
        self.keys: list[str | None] = []
        self.lock, self.closed = threading.Lock(), threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self) -> "CompletionsServer":
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        self.closed.set()
        self.http.shutdown()
        self.http.server_close()

    def backend(self, **changes) -> TeacherBackend:
        return TeacherBackend(**{"kind": "openai", "address": self.url, "model": None, "gpus": None, "limit_s": 600.0, **changes})

    @torch.no_grad()
    def complete(self, body: dict) -> dict:
        """The answer to one request; greedy at temperature 0, else drawn with its seed."""
        prompt = body["prompt"]
        if isinstance(prompt, str):
            prompt = self.tokenizer(prompt, add_special_tokens=body.get("add_special_tokens", True))["input_ids"]
        ids, written = ([5] if self.trouble == "bos" else []) + list(prompt), []
        draws = torch.Generator().manual_seed(body.get("seed") or 0)
        bias = torch.zeros(self.model.config.vocab_size)
        for i, value in (body.get("logit_bias") or {}).items():
            bias[int(i)] = value
        for _ in range(body["max_tokens"]):
            logits = self.model(torch.tensor([ids + written])).logits[0, -1] + bias
            if body["temperature"] == 0:
                written.append(int(logits.argmax()))
            else:
                written.append(int((logits / body["temperature"]).softmax(-1).multinomial(1, generator=draws)))
            if written[-1] in (body.get("stop_token_ids") or []):
                break
        echo = body.get("echo") and self.trouble != "no echo"
        shown, first = (ids + written, 0) if echo else (written, len(ids))
        logits_TV = self.model(torch.tensor([ids + written])).logits[0].float()
        logprobs_TV = logits_TV if self.trouble == "logits" else logits_TV.log_softmax(-1)
        name = (lambda i: self.tokenizer.decode([i])) if self.trouble == "texts" else ID
        own, tops = [], []
        for place, i in enumerate(shown, first):
            if place == 0:
                own.append(None), tops.append(None)
                continue
            nats_V = logprobs_TV[place - 1]
            best = nats_V.topk(min(body["logprobs"], self.cap or body["logprobs"], len(nats_V)))
            own.append(float(nats_V[i]))
            told = {name(i): float(nats_V[i])}  # as vLLM: the token itself first, then the most probable ones
            tops.append(told | {name(j): float(nats) for nats, j in zip(best.values, best.indices.tolist(), strict=True)})
        logprobs = {"tokens": [name(i) for i in shown], "token_logprobs": own, "top_logprobs": tops, "text_offset": []}
        choice = {"index": 0, "text": "", "logprobs": None if self.trouble == "no logprobs" else logprobs, "finish_reason": "length"}
        return {"object": "text_completion", "model": body["model"], "choices": [choice]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_args) -> None:
                pass

            def do_GET(self) -> None:
                if not self.stumbles() and self.path == "/v1/models":
                    models = [{"id": name, "object": "model", "max_model_len": server.max_model_len} for name in server.names]
                    self.say(200, {"object": "list", "data": models})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    server.bodies.append(body)
                if self.stumbles():
                    return
                time.sleep(server.seconds)
                length = len(body["prompt"]) + body["max_tokens"]
                if (body.get("logprobs") or 0) > server.max_logprobs:
                    self.refuse(400, f"Requested sample logprobs of {body['logprobs']}, which is greater than max allowed")
                elif not isinstance(body["prompt"], str) and length > server.max_model_len:
                    self.refuse(400, f"This model's maximum context length is {server.max_model_len} tokens")
                else:
                    with server.lock:
                        answer = server.complete(body)
                    self.say(200, answer)

            def stumbles(self) -> bool:
                trouble, key = server.trouble, self.headers.get("Authorization")
                server.keys.append(key)
                if trouble == "hang":
                    server.closed.wait()
                elif trouble == "redirect":
                    self.say(307, {}, {"Location": "http://127.0.0.1:1/elsewhere"})
                elif trouble == "garbled":
                    self.say(200, "<html>")
                elif trouble and trouble.isdigit():
                    self.refuse(int(trouble), f"no good: {key}")
                else:
                    return False
                return True

            def refuse(self, status: int, message: str) -> None:
                self.say(status, {"error": {"message": message, "type": "BadRequestError", "code": status}}, {"Retry-After": "0"})

            def say(self, status: int, content, headers: dict[str, str] | None = None) -> None:
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        return Handler
