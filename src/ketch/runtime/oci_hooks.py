"""Hooks that run where the runtime is (config.md, "POSIX-platform Hooks")."""

import os

from ketch.errors import KetchError
from ketch.runtime import hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.oci_log import Log
    from ketch.runtime.oci_state import Record


def run_hooks(record: "Record", kind: str, state: "Record", log: "Log | None" = None) -> None:
    """Run the hooks of one kind in order; the first failure raises.

    With ``log``, failures are warnings and the next hook runs, as is the rule for ``poststart``
    and ``poststop``.
    """
    for hook in record["hooks"].get(kind) or ():
        try:
            hooks.run(hook, state, dict(os.environ))
        except (KetchError, OSError) as error:
            if log is None:
                raise
            log.warn(f"{kind} hook: {error}")
