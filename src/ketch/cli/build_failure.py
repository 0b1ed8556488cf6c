"""``ketch build --shell-on-failure``: a shell in the state before the step that failed."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

_SHELLS = "for s in bash ash sh; do command -v $s >/dev/null 2>&1 && exec $s; done; exec sh"


def stand_there(client: "Client", parsed: "Parsed", outcome: "dict[str, Any]") -> None:
    """Run a shell in a container of the image as it was, with the variables of the step."""
    image = outcome.get("image", "")
    if not image:
        sys.stderr.write("ketch: there is no state to stand in: nothing was built before\n")
        return
    from ketch.cli.attached_run import stay
    from ketch.cli.create_body import build
    from ketch.cli.flags import parse
    from ketch.cli.run_flags import FLAGS

    sys.stderr.write(
        f"\nA shell in the state before the step that failed ({image[7:19]}); exit to go on.\n"
        "Mounts of the step (--mount) are not there.\n"
    )
    words = ["--rm", "-it" if sys.stdin.isatty() else "-i", "--entrypoint", "/bin/sh"]
    for variable in outcome.get("environment") or parsed["build-arg"]:
        words += ["-e", variable]
    if parsed["network"] not in ("", "default"):
        words += ["--network", parsed["network"]]
    wanted = parse(FLAGS, [*words, image, "-c", _SHELLS], interspersed=False)
    body = build(wanted, image, wanted.words[1:])
    stay(client, client.call("POST", "/containers/create", None, body)["Id"], wanted)
