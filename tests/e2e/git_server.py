"""Repositories over http on loopback: by http-backend, and as plain files below ``/dumb``."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

BACKEND = "/usr/lib/git-core/git-http-backend"


class Repositories:
    """Of one folder; ``asked`` are paths, ``token`` what ``/private`` ones want."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.token = "let-me-in"
        self.address = ""

    def make(self, name: str, files: dict[str, str], links: dict[str, str] | None = None) -> str:
        """A repository with one more commit of these files; the commit's hash."""
        work = self.folder / f"{name}.work"
        if not work.exists():
            self.git("init", "-q", "-b", "main", str(work))
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        for path, target in (links or {}).items():
            (work / path).symlink_to(target)
        self.git("add", "-A", cwd=work)
        return self.commit(name)

    def commit(self, name: str) -> str:
        """What is staged; published for both kinds of clients."""
        work, bare = self.folder / f"{name}.work", self.folder / f"{name}.git"
        self.git("commit", "-q", "--allow-empty", "-m", "change", cwd=work)
        if not bare.exists():
            self.git("clone", "-q", "--bare", str(work), str(bare))
        self.publish(name)
        return self.git("rev-parse", "HEAD", cwd=work)

    def publish(self, name: str) -> None:
        """Branches and tags of the working copy to where clients see them."""
        work, bare = self.folder / f"{name}.work", self.folder / f"{name}.git"
        self.git("push", "-q", "--force", "--all", str(bare), cwd=work)
        self.git("push", "-q", "--force", "--tags", str(bare), cwd=work)
        self.git("update-server-info", cwd=bare)
        self.git("config", "http.receivepack", "false", cwd=bare)
        self.git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=bare)

    def git(self, *words: str, cwd: Path | None = None) -> str:
        """git with an author."""
        settings = ("user.name=t", "user.email=t@t", "protocol.file.allow=always")
        options = [word for setting in settings for word in ("-c", setting)]
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(
            ["git", *options, *words], cwd=cwd or self.folder, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def serving(folder: Path) -> Iterator[Repositories]:
    """Repositories below ``folder``."""
    repositories = Repositories(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(repositories))
    server.socket.setblocking(False)  # or it waits for a client that left before it was accepted
    repositories.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield repositories
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(repositories: Repositories) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            repositories.asked.append(self.path)
            path, _, query = self.path.partition("?")
            path = unquote(path)
            if path.startswith("/private/"):
                wanted = base64.b64encode(f"x-access-token:{repositories.token}".encode()).decode()
                if self.headers.get("Authorization", "").lower() != f"basic {wanted}".lower():
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="x"')
                    self.end_headers()
                    return
                path = path.removeprefix("/private")
            if path.startswith("/dumb/"):
                self.plain(repositories.folder / path.removeprefix("/dumb/"))
                return
            self.backend(path, query)

        def plain(self, path: Path) -> None:
            found = path.is_file()
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(path.read_bytes())

        def backend(self, path: str, query: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            environment = {
                "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(repositories.folder),
                "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
                "REQUEST_METHOD": self.command, "REMOTE_ADDR": "127.0.0.1",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }  # fmt: skip
            done = subprocess.run(
                [BACKEND], input=body, env=environment, capture_output=True, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = [line.partition(b": ") for line in head.split(b"\r\n")]
            status = next((value for name, _, value in headers if name == b"Status"), b"200")
            self.send_response(int(status.split()[0]))
            for name, _, value in headers:
                if name and name != b"Status":
                    self.send_header(name.decode(), value.decode())
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    return Handler
