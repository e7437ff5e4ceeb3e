"""A judge on loopback: POST /v1/chat/completions as OpenAI's API answers it, with every trouble that one meets there.

Example: `with JudgeServer(lambda messages: "예") as server: Endpoint(server.url, "judge")`.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Messages = list[dict[str, str]]


class JudgeServer:
    """Context manager. `reply`: messages -> text. `trouble`: number of a request, from 0 -> what goes wrong, or None.

    Troubles: a status ("401", "404", "429", "500", ...), "redirect", "garbled" (no JSON), "empty" (no choices), "null"
    (no text), "hang" (never answers), "drip" (never ends), "drop" (hangs up). `bodies` and `keys`: what was received.
    """

    def __init__(self, reply: Callable[[Messages], str], trouble: Callable[[int], str | None] = lambda number: None):
        self.reply, self.trouble = reply, trouble
        self.bodies: list[dict] = []
        self.keys: list[str | None] = []
        self.lock, self.closed = threading.Lock(), threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self) -> "JudgeServer":
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_exc) -> None:
        self.closed.set()
        self.http.shutdown()
        self.http.server_close()

    @property
    def asked(self) -> list[str]:
        """The last message of every request."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_args) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    number = len(server.bodies)
                    server.bodies.append(body)
                    server.keys.append(self.headers.get("Authorization"))
                trouble = server.trouble(number) if self.path == "/v1/chat/completions" else "404"
                if trouble == "hang":
                    server.closed.wait()
                elif trouble == "drip":
                    self.drip()
                elif trouble == "redirect":
                    self.say(307, {}, {"Location": "http://127.0.0.1:1/elsewhere"})
                elif trouble and trouble.isdigit():
                    error = {"message": f"no good: {self.headers.get('Authorization')}", "type": "error"}
                    self.say(int(trouble), {"error": error}, {"Retry-After": "0"})
                elif trouble == "garbled":
                    self.say(200, "<html>")
                elif trouble != "drop":
                    text = None if trouble == "null" else server.reply(body["messages"])
                    message = {"role": "assistant", "content": text}
                    choices = [] if trouble == "empty" else [{"index": 0, "message": message, "finish_reason": "stop"}]
                    self.say(200, {"object": "chat.completion", "model": body["model"], "choices": choices})

            def say(self, status: int, content, headers: dict[str, str] | None = None) -> None:
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                sent = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
                for name, value in sent.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def drip(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                try:
                    while not server.closed.wait(0.05):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                except OSError:
                    pass

        return Handler
