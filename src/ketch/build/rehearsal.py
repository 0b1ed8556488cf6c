"""A build in which nothing runs: it finds the errors that come up only when words are expanded."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ketch.build.dry_executor import DryExecutor, silent
from ketch.build.failures import StepFailed
from ketch.build.prepared import Prepared
from ketch.build.solver import Solver
from ketch.errors import InvalidParameter, KetchError

_ENTITLEMENTS = ("network.host", "security.insecure")


async def rehearse(prepared: Prepared, configs: Mapping[str, bytes]) -> KetchError | None:
    """The error that a build would end with, if it is one of the Dockerfile's words.

    ``configs`` has the configurations of images, by name; a stage whose base is not there is not
    looked at.
    """
    options = msgspec.structs.replace(prepared.options, allow=_ENTITLEMENTS)
    words = msgspec.structs.replace(prepared, options=options, findings=())
    solver = Solver(words, DryExecutor(configs), silent, ahead=False)
    try:
        await solver.run()
    except (InvalidParameter, StepFailed) as error:
        return error
    except KetchError:
        return None
    return None
