"""A data hub on loopback, just real enough for the real `datasets` client to download or stream one data set from it.

It holds the data set `me/rows` with one parquet file, and of models what `statuses` says: path -> (status, X-Error-Code).
`hangs=True`: requests are read and never answered.

Example: `with HubServer(rows) as hub: environ["HF_ENDPOINT"] = hub.url`.
"""

import io
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow
import pyarrow.parquet

COMMIT = "a" * 40
FILE = "train.parquet"


class HubServer:
    """Context manager; `requests` holds the paths that were asked for."""

    def __init__(self, rows: list[dict[str, Any]], hangs: bool = False, statuses: dict[str, tuple[int, str]] | None = None):
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
        self.content, self.hangs = buffer.getvalue(), hangs
        self.requests: list[str] = []
        self.statuses = statuses or {}
        self.closed = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exc) -> None:
        self.closed.set()
        self.http.shutdown()
        self.http.server_close()

    def answer(self, path: str, body: bytes, asked: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """(status, body, headers) for one request with the headers `asked`."""
        if path in self.statuses:
            status, code = self.statuses[path]
            return status, b"", {"X-Error-Code": code, "X-Repo-Commit": COMMIT, "ETag": '"e"'}
        entry = {"type": "file", "path": FILE, "size": len(self.content), "oid": "b" * 40}
        if path in ("/api/datasets/me/rows", *(f"/api/datasets/me/rows/revision/{name}" for name in ("main", COMMIT))):
            found: Any = {"id": "me/rows", "_id": "1", "sha": COMMIT, "private": False, "siblings": [{"rfilename": FILE}]}
        elif path.startswith("/api/datasets/me/rows/tree/"):
            found = [entry]
        elif path.startswith("/api/datasets/me/rows/paths-info/"):
            found = [entry] if FILE.encode() in body else []
        elif path.endswith(f"/{FILE}"):
            return self._file(asked.get("Range"))
        else:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        return 200, json.dumps(found).encode(), {"Content-Type": "application/json", "X-Repo-Commit": COMMIT}

    def _file(self, byte_range: str | None) -> tuple[int, bytes, dict[str, str]]:
        headers = {"ETag": '"e"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if byte_range is None:
            return 200, self.content, headers
        first, last = byte_range.split("=")[1].split("-")
        piece = self.content[int(first) : int(last) + 1 if last else None]
        end = int(first) + len(piece) - 1
        return 206, piece, {**headers, "Content-Range": f"bytes {first}-{end}/{len(self.content)}"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args) -> None:
                pass

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.split("?")[0]
                server.requests.append(path)
                if server.hangs:
                    server.closed.wait()
                    return
                status, content, headers = server.answer(path, body, self.headers)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do

        return Handler
