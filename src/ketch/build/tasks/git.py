"""Worker that clones a git repository: git's own program, with nothing of this machine's setup.

No configuration of the system or of a user, no hooks, templates, file system monitors, filters or
file URLs; what is fetched is only looked at by path without following links. git runs as a child
that dies with the worker.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from typing import IO, Any

from ketch.errors import InvalidParameter, Unavailable, errno_text
from ketch.linux.paths import open_directory_without_links
from ketch.linux.process import die_with_parent

Args = dict[str, Any]
_SETTINGS = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.attributesFile=/dev/null"),
    *("core.excludesFile=/dev/null", "core.untrackedCache=false", "core.sshCommand=", "gc.auto=0"),
    *("protocol.file.allow=never", "protocol.ext.allow=never", "submodule.recurse=false"),
    *("fetch.recurseSubmodules=false", "credential.helper=", "advice.detachedHead=false"),
    *("http.lowSpeedLimit=1", "http.lowSpeedTime=120"),  # a server that says nothing, in seconds
    *(
        "init.defaultBranch=main",
        "core.symlinks=true",
        "diff.external=",
    ),
)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FETCHED = re.compile(r"([0-9a-f]+)\t(?:not-for-merge)?\t(tag|branch) '([^']+)' of ")
_ACCOUNT = re.compile(r"//[^/@\s]+@")
_SUBMODULE_URL = re.compile(
    r"https?://[^-]|ssh://(?:[^-/@][^/@]*@)?[^-]|[a-zA-Z0-9_.][a-zA-Z0-9_.-]*@[a-zA-Z0-9_.]|\.\.?/"
)
_LONGEST = 2000  # characters of what git said
_MOST_SAID = 1 << 20  # bytes of it that are kept


def clone(args: Args, fds: list[int]) -> Args:
    """Fetch one commit and lay its files out; answers ``{"commit": its hash}``.

    ``{"url", "ref", "subdir", "checksum", "keep_git_dir", "keeps_name", "submodules", "tree": name
    of the new directory, "headers": {configuration key: header}, "agent": path of a socket or "",
    "known_hosts": text of a file in ssh's form; "" takes every host's key}``, fds
    ``[the build's directory]``. Raises ``InvalidParameter`` for all that the repository lacks.
    """
    os.fchdir(fds[0])
    os.umask(0o022)
    tree = os.path.basename(str(args["tree"]))
    scratch = f"{tree}.clone"
    os.makedirs(f"{scratch}/repo")
    os.mkdir(f"{scratch}/home")
    with open(f"{scratch}/home/known_hosts", "w", encoding="utf-8") as file:
        file.write(str(args["known_hosts"]))
    try:
        git = _Git(os.path.abspath(scratch), args)
        commit = git.checkout()
        _check_commit(str(args["checksum"]), commit)
        if args["keep_git_dir"]:
            git.name()
        if args["submodules"]:
            git.submodules()
        git.finish()
        _place(f"{scratch}/repo", str(args["subdir"]), tree, keeps_name=bool(args["keeps_name"]))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {"commit": commit}


class _Git:
    """One repository under way."""

    def __init__(self, scratch: str, args: Args) -> None:
        self._args = args
        self._folder = f"{scratch}/repo"
        self._environment = _environment(scratch, args)

    def checkout(self) -> str:
        """The wanted commit's files; its hash."""
        self._run("init", "--quiet", "--template=")
        self._run("remote", "add", "--", "origin", str(self._args["url"]))
        target = self._fetched(str(self._args["ref"]))
        self._run("checkout", "--quiet", "--force", "--detach", target)
        return self._run("rev-parse", "--verify", "HEAD").strip()

    def _fetched(self, ref: str) -> str:
        """A name for what was fetched; one commit if the server can, else all."""
        if not _COMMIT.fullmatch(ref):
            self._fetch(ref or "HEAD")
            return "FETCH_HEAD^{commit}"
        if _FULL.fullmatch(ref) and self._try("fetch", "--quiet", "--depth=1", "origin", ref):
            return f"{ref}^{{commit}}"
        if self._try("fetch", "--quiet", "--depth=1", "--no-tags", "origin", f"refs/heads/{ref}"):
            return "FETCH_HEAD^{commit}"  # a branch that looks like a commit
        self._run("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        return f"{ref}^{{commit}}"

    def _fetch(self, ref: str) -> None:
        """Servers of plain files (dumb http) can't cut the history."""
        words = ("--quiet", "--no-tags", "origin", ref)
        if not self._try("fetch", "--depth=1", *words):
            self._run("fetch", *words)

    def name(self) -> None:
        """The branch or the tag that was asked for gets its name in the repository, as with
        BuildKit: whoever keeps ``.git`` wants ``git describe``."""
        path = f"{self._folder}/.git/FETCH_HEAD"
        if not os.path.exists(path):
            return
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            match = _FETCHED.match(file.readline())
        os.unlink(path)
        if match is not None:
            kind = {"tag": "tags", "branch": "heads"}[match[2]]
            self._run("update-ref", f"refs/{kind}/{match[3]}", match[1])

    def submodules(self) -> None:
        """All, of all levels; their URLs are http, https, ssh or relative ones."""
        if not os.path.lexists(f"{self._folder}/.gitmodules"):
            return
        if os.path.islink(f"{self._folder}/.gitmodules"):
            raise InvalidParameter("the repository's .gitmodules is a symbolic link")
        self._check_submodules()
        self._environment["GIT_ALLOW_PROTOCOL"] = "http:https:ssh"
        words = ("submodule", "--quiet", "update", "--init", "--recursive", "--checkout", "--force")
        if not self._try(*words, "--depth=1"):
            self._run(*words)

    def _check_submodules(self) -> None:
        listed = self._try(
            "config", "--file", ".gitmodules", "--null", "--get-regexp", r"^submodule\..*\.url$"
        )
        for entry in (listed or "").split("\0"):
            _, _, url = entry.partition("\n")
            if entry and not _SUBMODULE_URL.match(url):
                raise InvalidParameter(
                    f"the submodule URL {url!r} is refused: only http, https, ssh and relative ones"
                )

    def finish(self) -> None:
        """Files get the commit's time, so that the same commit is the same layer; ``.git`` goes."""
        seconds = int(self._run("show", "--no-patch", "--format=%ct", "HEAD").strip() or 0)
        keep = bool(self._args["keep_git_dir"])
        for folder, directories, files in os.walk(self._folder):
            if ".git" in directories and not keep:
                directories.remove(".git")
                shutil.rmtree(f"{folder}/.git")
            if ".git" in files and not keep:
                files.remove(".git")
                os.unlink(f"{folder}/.git")
            for name in (*directories, *files):
                os.utime(f"{folder}/{name}", (seconds, seconds), follow_symlinks=False)
        os.utime(self._folder, (seconds, seconds))

    def _try(self, *words: str) -> str | None:
        """What it wrote; None when it failed."""
        done = self._start(words)
        return None if done.returncode else done.stdout.decode("utf-8", "replace")

    def _run(self, *words: str) -> str:
        done = self._start(words)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-_LONGEST:]
            url = _ACCOUNT.sub("//…@", str(self._args["url"]))
            raise InvalidParameter(f"failed to fetch {url}: git: {_ACCOUNT.sub('//…@', said)}")
        return done.stdout.decode("utf-8", "replace")

    def _start(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        command = ["git", *settings, *words]
        with tempfile.TemporaryFile(dir=os.path.dirname(self._folder)) as wrote:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=wrote,
                    stderr=subprocess.PIPE,
                    preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - no threads
                )
            except FileNotFoundError:
                raise Unavailable("git repositories need the program git on the host") from None
            with process:
                said = _last(process.stderr)
            wrote.seek(0)
            out = wrote.read(_MOST_SAID)
        return subprocess.CompletedProcess(command, process.returncode, out, said)


def _last(stream: IO[bytes] | None) -> bytes:
    """The end of what comes: a server may have git repeat its words as long as it likes."""
    assert stream is not None
    kept = b""
    while piece := stream.read(_MOST_SAID):
        kept = (kept + piece)[-_MOST_SAID:]
    return kept


def _environment(scratch: str, args: Args) -> dict[str, str]:
    """All that git sees; headers go by variables, since command lines are seen by everybody."""
    checking = "yes" if args["known_hosts"] else "accept-new"
    ssh = (
        f"ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking={checking} "
        f"-o UserKnownHostsFile={scratch}/home/known_hosts -o GlobalKnownHostsFile=/dev/null"
    )
    found = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": f"{scratch}/home",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh:git",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_SSH_COMMAND": ssh,
        "GIT_CEILING_DIRECTORIES": scratch,
        "GIT_LFS_SKIP_SMUDGE": "1",
    }
    if args["agent"]:
        found["SSH_AUTH_SOCK"] = str(args["agent"])
    headers = args["headers"]
    found["GIT_CONFIG_COUNT"] = str(len(headers))
    for number, (key, value) in enumerate(headers.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = str(key)
        found[f"GIT_CONFIG_VALUE_{number}"] = str(value)
    return found


def _check_commit(wanted: str, commit: str) -> None:
    if wanted and not commit.startswith(wanted):
        raise InvalidParameter(f"expected checksum to match {wanted}, got {commit}")


def _place(repository: str, subdir: str, tree: str, *, keeps_name: bool) -> None:
    """The repository, or one directory of it, as a directory of the build's."""
    path = subdir.strip("/")
    if path in ("", "."):
        os.rename(repository, tree)
        return
    try:
        os.close(open_directory_without_links(repository, path))
    except OSError as error:
        raise InvalidParameter(
            f"the repository has no directory {subdir!r} (links are not followed): "
            f"{errno_text(error)}"
        ) from None
    if not keeps_name:
        os.rename(f"{repository}/{path}", tree)
        return
    os.mkdir(tree)
    os.chmod(tree, 0o755)
    os.rename(f"{repository}/{path}", f"{tree}/{os.path.basename(path)}")
    os.utime(tree, (0, 0))
