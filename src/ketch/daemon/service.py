"""The life of the daemon: lock, wire, recover, listen, serve, leave; containers live on.

Stages: the locks on both roots → the listening sockets (before anything is started that could
inherit those of the service manager) → the engine with all its rooms, which adopts what runs
(``ketch.daemon.wiring``) → accepting → READY. A failure undoes the stages before it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ketch import __version__
from ketch.api.origin import OriginPolicy
from ketch.api.server import ApiServer
from ketch.api.upgrades import GrpcFront, Upgrades
from ketch.daemon import config, listeners, logs, systemd, wiring
from ketch.daemon.acceptor import Acceptor
from ketch.daemon.pidfile import LockedFile
from ketch.daemon.settings import RELOADABLE
from ketch.errors import KetchError
from ketch.linux.libc import trim_heap, unmap_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.daemon.flags import CommandLine
    from ketch.daemon.settings import Settings
    from ketch.engine.engine import Engine

_log = logging.getLogger(__name__)


async def serve(settings: Settings, command: CommandLine) -> None:
    """Run until SIGTERM or SIGINT. Raises ``KetchError`` or OSError when it can't start."""
    stop = asyncio.Event()
    _on_signals(stop)
    async with AsyncExitStack() as stack:
        _prepare_roots(settings, stack)
        opened = listeners.open_all(settings)  # clients may connect, and wait until we are ready
        for listener in opened:
            stack.callback(listener.close)
        engine = await wiring.build(settings, stack)
        reload = _Reload(settings, command)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        await _listen(opened, engine, settings, stack)
        gc.collect()
        gc.freeze()  # what lives now lives for ever: don't walk it again
        trim_heap()  # some 8 MB that imports took for a while
        unmap_code()
        _log.info("ketchd %s is ready on %s", __version__, ", ".join(settings.listeners))
        systemd.notify("READY=1")
        await stop.wait()
        systemd.notify("STOPPING=1")
        _log.info("leaving; containers stay")


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _prepare_roots(settings: Settings, stack: AsyncExitStack) -> None:
    """Make both roots with their modes and lock them."""
    os.umask(0o022)
    for path, mode in ((settings.data_root, 0o710), (settings.exec_root, 0o711)):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
    for path in (settings.pid_path, f"{settings.data_root}/lock"):
        stack.callback(LockedFile(path).release)


def _names(settings: Settings) -> tuple[str, ...]:
    """What clients may call this machine, beside its host name and addresses."""
    if not settings.tlsverify:
        return ()
    from ketch.daemon.tls_names import names_of  # only a TLS listener pays for it

    return names_of(settings.tlscert, settings.tlskey)


def _grpc(engine: Engine) -> GrpcFront:
    from ketch.buildkit.front import BuildkitFront  # gRPC costs memory: when a client comes

    return BuildkitFront(engine.builder)


async def _listen(
    opened: Sequence[listeners.Listener],
    engine: Engine,
    settings: Settings,
    stack: AsyncExitStack,
) -> None:
    api = ApiServer(engine, OriginPolicy(_names(settings)), Upgrades(lambda: _grpc(engine)))
    stack.push_async_callback(api.close)
    stack.push_async_callback(engine.builder.leave)  # first: answers end with their builds
    for listener in opened:
        if listener.remote and listener.tls is None:
            _log.warning("%s is open to everyone who can reach it", listener.address)
        acceptor = Acceptor(listener, listener.factory(api), api.close_idle)
        stack.callback(acceptor.close)


class _Reload:
    """SIGHUP: read the configuration again and take over what may change while running."""

    def __init__(self, settings: Settings, command: CommandLine) -> None:
        self._settings = settings
        self._command = command

    def __call__(self) -> None:
        command = self._command
        try:
            fresh = config.load(command.config_file, command.flags, required=command.config_given)
        except KetchError as error:
            _log.error("the configuration was not reloaded: %s", error)
            return
        self._report(fresh)
        self._settings = fresh
        logs.configure(fresh.log_level, fresh.debug)

    def _report(self, fresh: Settings) -> None:
        for field in fresh.__struct_fields__:
            if getattr(fresh, field) == getattr(self._settings, field):
                continue
            when = "now" if field in RELOADABLE else "after a restart"
            _log.info("%s changes %s", field.replace("_", "-"), when)
