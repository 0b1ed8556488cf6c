"""``--ssh``: agents and keys of this machine that steps of a build may sign with.

A Dockerfile is somebody else's: it may ask which keys there are and have something signed, as with
buildx, but not take keys out of an agent, add some, or lock it (draft-miller-ssh-agent).
"""

import os

from ketch.cli.flags import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_LIST, _SIGN, _REFUSED = 11, 13, b"\0\0\0\1\5"
_LONGEST = 256 << 10  # bytes of a message, as OpenSSH has it
# Its standard input ends when this process does, however that ends.
_AGENT = (
    'place=$(mktemp -d) && { ssh-agent -s -D -a "$place/agent" & cat; kill $!; rm -rf "$place"; }'
)


def agent(text: str) -> "tuple[str, str]":
    """``default`` or ``id[=SOCKET|KEY[,KEY]]``: the name and the socket of an agent, one of our own
    for keys; raises ``Failure``."""
    name, _, value = text.partition("=")
    paths = value.split(",") if value else [os.environ.get("SSH_AUTH_SOCK", "")]
    if not all(paths):
        raise Failure(f"--ssh {text}: no agent runs (SSH_AUTH_SOCK is not set); name its socket")
    sockets = [path for path in paths if _is_socket(text, path)]
    if not sockets:
        return name or "default", _of_keys(text, paths)
    if len(paths) > 1:
        raise Failure(f"--ssh {text}: one socket of an agent, or files with keys")
    return name or "default", sockets[0]


def _is_socket(text: str, path: str) -> bool:
    import stat

    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise Failure(f"--ssh {text}: {path}: {error.strerror}") from None


def _of_keys(text: str, paths: "list[str]") -> str:
    """An agent that holds these keys as long as this process lives: its socket."""
    import shutil
    import subprocess

    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        raise Failure(
            f"--ssh {text}: files with keys need OpenSSH's ssh-agent and ssh-add: install"
            " openssh-client, or name the socket of an agent"
        )
    pipe = subprocess.PIPE
    holder = subprocess.Popen(["sh", "-c", _AGENT], stdin=pipe, stdout=pipe, start_new_session=True)
    _held.append(holder)
    assert holder.stdout is not None
    path = os.fsdecode(holder.stdout.readline()).partition("=")[2].partition(";")[0]
    added = subprocess.run(
        ["ssh-add", "-q", "--", *paths],
        env={**os.environ, "SSH_AUTH_SOCK": path},
        check=False,
        stderr=pipe,
    )
    if added.returncode:
        told = added.stderr.decode(errors="replace").strip()
        raise Failure(f"--ssh {text}: no key that can be used: {told}")
    return path


_held: "list[object]" = []  # whose standard input is to stay open


def converse(theirs: "_socket.socket", first: bytes, path: str) -> None:
    """Carry one conversation between a step and the agent; ``first`` is what the step said."""
    import socket

    with socket.socket(socket.AF_UNIX) as mine:
        try:
            mine.connect(path)
            step = _Messages(theirs, first)
            answers = _Messages(mine)
            while request := step.next():
                if request[4] not in (_LIST, _SIGN):
                    theirs.sendall(_REFUSED)
                    continue
                mine.sendall(request)
                theirs.sendall(answers.next())
        except OSError:
            pass  # one of them has gone
        theirs.close()


class _Messages:
    """Those that come over a connection: a length in four bytes, and the kind first."""

    def __init__(self, source: "_socket.socket", data: bytes = b"") -> None:
        self._source = source
        self._data = data

    def next(self) -> bytes:
        """The whole next one, b"" at the end or for what is none."""
        length = 4
        while len(self._data) < length or length == 4:
            if len(self._data) >= 4:
                length = 4 + int.from_bytes(self._data[:4], "big")
                if not 4 < length <= _LONGEST:
                    return b""
                if len(self._data) >= length:
                    break
            more = self._source.recv(1 << 16)
            if not more:
                return b""
            self._data += more
        message, self._data = self._data[:length], self._data[length:]
        return message
