"""``ketchd``: read the configuration, run the daemon, translate failures to exit codes."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import uvloop

from ketch import __version__
from ketch.daemon import config, flags, logs
from ketch.daemon.settings import Settings
from ketch.errors import KetchError, os_reason
from ketch.linux import open_files

_log = logging.getLogger(__name__)


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end, 1 when it could not start, 2 for flags."""
    try:
        command = flags.parse(sys.argv[1:])
    except KetchError as error:
        return _complain(error, 2)
    if command.help:
        sys.stdout.write(flags.usage())
        return 0
    if command.version:
        sys.stdout.write(f"ketchd version {__version__}\n")
        return 0
    return _run(command)


def _run(command: flags.CommandLine) -> int:
    try:
        settings = config.load(command.config_file, command.flags, required=command.config_given)
        if os.geteuid() != 0:
            raise KetchError("root is needed: namespaces, mounts and cgroups can't be made else")
        logs.configure(settings.log_level, settings.debug)
        open_files.raise_limit()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, command))
    except KetchError as error:
        return _complain(error, 1)
    except OSError as error:
        return _complain(KetchError(f"cannot start: {os_reason(error)}"), 1)
    return 0


async def _serve(settings: Settings, command: flags.CommandLine) -> None:
    """What is asked, with imports that --help and mistakes don't pay for."""
    if command.cleanup:
        from ketch.daemon import cleanup, wiring

        await cleanup.clean_up(settings, wiring.network_config(settings))
        return
    from ketch.daemon import lean_imports

    lean_imports.import_aiohttp()
    from ketch.daemon.service import serve

    await serve(settings, command)


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"ketchd: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
