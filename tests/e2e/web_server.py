"""A small web server in a thread: answers by path, remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Web:
    """``pages`` maps a path to bytes, to a JSON value, or to a function of the request."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.address = ""


Answer = tuple[int, dict[str, str], bytes]
Page = Callable[[BaseHTTPRequestHandler, bytes], Answer]


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            web.asked.append((self.command, self.path, dict(self.headers), body))
            page = web.pages.get(urlsplit(self.path).path)
            status, headers, data = self._page(page, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _page(self, page: Any, body: bytes) -> Answer:
            if page is None:
                return 404, {}, b"nothing here"
            if callable(page):
                found: Answer = page(self, body)
                return found
            data = page if isinstance(page, bytes) else json.dumps(page).encode()
            return 200, {}, data

        do_GET = do_POST = do_HEAD = do_PUT = answer

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    return Handler


@contextmanager
def serving() -> Iterator[Web]:
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(web))
    server.socket.setblocking(False)  # or it waits for a client that left before it was accepted
    web.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
