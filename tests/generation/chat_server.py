"""A small OpenAI-compatible server on a real socket that behaves, or misbehaves, as a test says.

Also a program, for worker processes: ``python chat_server.py PORT_FILE SECONDS_PER_REQUEST``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KERNEL = """```python
import numba
import torch

# {number}
@numba.njit
def double(x):
    return x + {number}


def relu_kernel_impl(x):
    return torch.from_numpy(double(x.numpy()))
```"""


@dataclass
class Answer:
    """What the server does with one request."""

    status: int = 200
    body: Any = None
    """Bytes, or what is sent as JSON; None: as many choices as were asked for."""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    drop_after: int | None = None
    """Bytes of the body that are sent before the connection is cut."""


@dataclass
class Seen:
    """One request that arrived."""

    path: str
    body: dict[str, Any]
    key: str
    hung_up: bool = False
    """Whether the client was gone when the answer was ready."""


def completion(
    n: int, text: Callable[[int], str] = lambda i: f"text {i}", tokens: int = 10
) -> dict[str, Any]:
    """A chat completion of ``n`` choices."""
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text(i)}, "finish_reason": "stop"}
        for i in range(n)
    ]
    return {"choices": choices, "usage": {"completion_tokens": tokens * n}}


class ChatServer:
    """``answer`` gets the number of the chat request, from 1, and its body."""

    def __init__(
        self,
        answer: Callable[[int, dict[str, Any]], Answer] = lambda number, body: Answer(),
        models: tuple[str, ...] = ("tiny",),
        metrics: str | None = None,
        port: int = 0,
    ) -> None:
        self.answer = answer
        self.models = models
        self.metrics = metrics
        self.chats: list[Seen] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._thread = threading.Thread(target=lambda: self._http.serve_forever(0.02), daemon=True)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT/v1``."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _chat(self, seen: Seen) -> Answer:
        with self._lock:
            self.chats.append(seen)
            number = len(self.chats)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = self.answer(number, seen.body)
            time.sleep(answer.wait)
        finally:
            with self._lock:
                self._at_once -= 1
        if answer.body is None:
            n = int(seen.body.get("n", 1))
            first = (number - 1) * 1000
            text = lambda i: KERNEL.format(number=first + i)  # noqa: E731
            answer.body = completion(n, text) if answer.status == 200 else {"error": {"message": "no"}}
        return answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/v1/models":
                    self._send(Answer(body={"data": [{"id": name} for name in server.models]}))
                elif self.path == "/metrics" and server.metrics is not None:
                    self._send(Answer(body=server.metrics.encode()))
                else:
                    self._send(Answer(404, {"detail": "Not Found"}))

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length))
                seen = Seen(self.path, body, self.headers.get("Authorization", ""))
                answer = server._chat(seen)
                try:
                    self._send(answer)
                except OSError:
                    seen.hung_up = True
                if answer.drop_after is not None:
                    self.close_connection = True

            def _send(self, answer: Answer) -> None:
                data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: answer.drop_after])
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


if __name__ == "__main__":
    pause = float(sys.argv[2])
    with ChatServer(lambda number, body: Answer(wait=pause)) as running:
        Path(sys.argv[1]).write_text(running.url)
        while True:
            time.sleep(3600)
