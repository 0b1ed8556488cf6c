"""Clones for builds: a worker runs git, with what the client lends for it."""

from __future__ import annotations

import base64
import os
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ketch.engine.builder.steps.agent import ForwardedAgent
from ketch.engine.storing import storing

if TYPE_CHECKING:
    from ketch.build.contexts.git_remote import GitRemote
    from ketch.build.request.offers import Offers
    from ketch.runtime.remote import Launcher

_TASK = "ketch.build.tasks.git:clone"
_AGENT = "default"


class Cloner:
    """Of one build; ``sockets`` is a directory for sockets of agents."""

    def __init__(self, launcher: Launcher, offers: Offers, directory: str, sockets: str) -> None:
        self._launcher = launcher
        self._offers = offers
        self._directory = directory
        self._sockets = sockets

    async def clone(self, remote: GitRemote, tree: str, *, keeps_name: bool = False) -> str:
        """Lay the files out in a new directory ``tree`` of the build's; the commit's hash. A
        subdirectory ``keeps_name`` in it or is the tree itself.

        Raises ``InvalidParameter`` with what git said.
        """
        async with AsyncExitStack() as stack:
            args: dict[str, Any] = {
                "url": remote.url,
                "ref": remote.ref,
                "subdir": remote.subdir,
                "checksum": remote.checksum,
                "keep_git_dir": remote.keep_git_dir,
                "keeps_name": keeps_name,
                "submodules": remote.submodules,
                "tree": tree,
                "headers": await self._headers(remote.url),
                "agent": await self._agent(remote, stack),
                "known_hosts": await self._known_hosts(remote),
            }
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with storing("the build context"):
                    found = await self._launcher.work(_TASK, args, [folder])
            finally:
                os.close(folder)
        return str(found["commit"])

    async def _headers(self, url: str) -> dict[str, str]:
        """From the secrets GIT_AUTH_HEADER and GIT_AUTH_TOKEN, first those for the host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            return {}
        header = await self._secret("GIT_AUTH_HEADER", parts.hostname or "")
        token = await self._secret("GIT_AUTH_TOKEN", parts.hostname or "")
        if not header and token:
            basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            header = f"basic {basic}"
        if not header:
            return {}
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
        return {f"http.{origin}.extraHeader": f"Authorization: {header}"}

    async def _secret(self, name: str, host: str) -> str:
        return (await self._text(name, host)).strip().replace("\n", "")

    async def _text(self, name: str, host: str) -> str:
        for id in (f"{name}.{host}", name):
            value = await self._offers.secret(id)
            if value is not None:
                return value.decode("utf-8", "replace")
        return ""

    async def _known_hosts(self, remote: GitRemote) -> str:
        """From the secret GIT_SSH_KNOWN_HOSTS; "" takes a host's key as it comes."""
        if not remote.is_ssh:
            return ""
        return remote.known_hosts or await self._text("GIT_SSH_KNOWN_HOSTS", remote.host)

    async def _agent(self, remote: GitRemote, stack: AsyncExitStack) -> str:
        if not remote.is_ssh or not await self._offers.has_agent(_AGENT):
            return ""
        os.makedirs(self._sockets, mode=0o700, exist_ok=True)
        path = f"{self._sockets}/{secrets.token_hex(8)}.sock"
        agent = ForwardedAgent(self._offers, _AGENT)
        await stack.enter_async_context(agent.listening(path))
        stack.callback(os.unlink, path)
        return path
