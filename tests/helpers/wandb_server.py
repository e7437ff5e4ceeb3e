"""A W&B server on loopback, just real enough for a whole online run, that can be told to hang, fail or refuse.

`WandbServer(behaviour)` answers the GraphQL operations that `wandb-core` 0.31 asks of a server, the file stream and
file uploads. `behaviour` may be changed while a run is under way: "works", "500" (every request fails), "401" (the
key is wrong), "hangs" (requests are read and never answered). A server that refuses is one that was closed.

Example: `with WandbServer() as server: monkeypatch.setenv("WANDB_BASE_URL", server.url)`.
"""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPERATION = re.compile(r"\s*(?:query|mutation)\s+(\w+)")
WORDS = {"500": (500, "internal error"), "401": (401, "permission denied")}


class WandbServer:
    """Context manager; `requests` holds (operation, headers, body) of everything that was asked."""

    def __init__(self, behaviour: str = "works"):
        self.behaviour = behaviour
        self.requests: list[tuple[str, dict, str]] = []
        self.closed = threading.Event()  # lets hanging answers go when the test ends
        self.http = Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "WandbServer":
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        """No longer listen: whoever comes now is refused. A second call does nothing."""
        if not self.closed.is_set():
            self.closed.set()
            self.http.shutdown()
            self.http.server_close()

    def operations(self) -> list[str]:
        """What was asked, in order: names of GraphQL operations and paths."""
        return [operation for operation, _, _ in self.requests]

    def streamed_history(self) -> list[dict]:
        """The history rows that reached the server through the file stream."""
        rows = []
        for operation, _, body in self.requests:
            if operation == "file_stream":
                chunk = json.loads(body).get("files", {}).get("wandb-history.jsonl", {})
                rows += [json.loads(line) for line in chunk.get("content", [])]
        return rows

    def exit_codes(self) -> list[int]:
        bodies = [json.loads(body) for operation, _, body in self.requests if operation == "file_stream"]
        return [body["exitcode"] for body in bodies if body.get("complete")]

    def _answer(self, operation: str, body: str) -> dict:
        if not operation[:1].isupper():  # the file stream, an upload
            return {}
        asked = json.loads(body)
        variables = asked.get("variables") or {}
        if operation == "UpsertBucket":
            name = variables.get("name") or variables.get("id") or "run"
            project = {"id": "cHJvamVjdA==", "name": "gold_style", "entity": {"id": "ZW50aXR5", "name": "loopback"}}
            bucket = {"id": "YnVja2V0", "name": name, "displayName": name, "description": "", "config": "{}"}
            bucket |= {"sweepName": None, "historyLineCount": 0, "project": project}
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in variables.get("files", [])]
            return {"data": {"createRunFiles": {"runID": "YnVja2V0", "uploadHeaders": [], "files": files}}}
        if operation == "RunResumeStatus":
            return {"data": {"model": None}}
        if operation == "CreateArtifact":  # "committed": the server has these files already, nothing is uploaded
            artifact = {"id": "YXJ0aWZhY3Q=", "state": "COMMITTED", "versionIndex": 0, "digest": "", "aliases": []}
            latest = {"id": "YXJ0aWZhY3Q=", "versionIndex": 0}
            artifact["artifactSequence"] = {"id": "c2VxdWVuY2U=", "latestArtifact": latest}
            return {"data": {"createArtifact": {"artifact": artifact}}}
        if "viewer" in asked["query"]:
            account = {"id": "dmlld2Vy", "username": "loopback", "entity": "loopback", "email": "", "flags": "{}"}
            return {"data": {"viewer": account | {"teams": {"edges": []}}}}
        return {"data": {"project": None}}

    def _handler(server):  # noqa: N805 (the handler's own `self` is the request)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    raw = gzip.decompress(raw)
                body = raw.decode("utf-8", "replace")
                operation = self.path.rsplit("/", 1)[-1]
                if operation == "graphql":
                    operation = OPERATION.match(json.loads(body)["query"])[1]
                server.requests.append((operation, dict(self.headers), body))
                if server.behaviour == "hangs":
                    server.closed.wait()
                    return
                code, word = WORDS.get(server.behaviour, (200, ""))
                answer = {"errors": [{"message": word}]} if word else server._answer(operation, body)
                out = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_PUT = do_HEAD = answer

            def log_message(self, *_):
                pass

        return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that is killed, or gives up, resets its connections
