"""A server before a real one, which can be told to answer 500, or nothing at all."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import requests

Health = Literal["well", "slow", "failing"]
_NOT_PASSED_ON = {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive"}


class IllServer(ThreadingHTTPServer):
    """Passes requests on to the server at `port` while it is well; otherwise it answers 500, or holds them.

    Attributes:
        health: How it answers from now on.
        asked: Requests that came while it was not well.
    """

    daemon_threads = True

    def __init__(self, port: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.health: Health = "well"
        self.asked = 0
        self.behind = f"http://127.0.0.1:{port}"
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: IllServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.health != "well":
            self.server.asked += 1
            self.close_connection = True
            if self.server.health == "slow":
                self.server.ended.wait(120)
            else:
                self._send(500, {}, b"the database is on fire")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
        found = requests.request(
            self.command, self.server.behind + self.path, headers=headers, data=body, timeout=60, allow_redirects=False
        )
        kept = {name: value for name, value in found.headers.items() if name.lower() not in _NOT_PASSED_ON}
        self._send(found.status_code, kept, found.content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815 -- the library's names

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def ill_server(port: int | None = None) -> Iterator[IllServer]:
    """One that runs while the block does."""
    server = IllServer(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
