"""``ketch build --check`` and ``--call``: questions about a Dockerfile that build nothing."""

import sys

from ketch.cli.build_context import question_of
from ketch.cli.build_flags import query
from ketch.cli.flags import Failure
from ketch.cli.visible import visible
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

CALLS = ("check", "outline", "targets")


def ask(client: "Client", parsed: "Parsed") -> int:
    """Print the answer; 1 when a check found something."""
    call, as_json = _wanted(parsed)
    remote, pieces, dockerfile = question_of(parsed)
    asked = {**query(parsed, dockerfile), "call": call}
    if remote:
        asked["remote"] = remote
        if parsed["file"] and not dockerfile:
            asked["dockerfilebody"] = "1"
    from ketch.cli import credentials

    headers = {
        "Content-Type": "application/x-tar",
        "X-Registry-Config": credentials.all_headers() or "e30=",
    }
    lines = client.json_lines("POST", "/build", asked, body=pieces, headers=headers)
    answer = next(iter(lines))
    if as_json:
        sys.stdout.write(fastjson.dumps(answer["Result"]).decode() + "\n")
    elif call == "check" and not answer["Text"]:
        sys.stdout.write("Check complete, no warnings found.\n")
    else:
        found = len(answer["Result"].get("warnings") or ()) if call == "check" else 0
        plural = "" if found == 1 else "s"
        told = f"Check complete, {found} warning{plural} found!\n\n" if found else ""
        sys.stdout.write(visible(told + answer["Text"]))
    return int(answer["Status"])


def _wanted(parsed: "Parsed") -> "tuple[str, bool]":
    """The question, and whether JSON is wanted."""
    call, *attributes = parsed["call"].split(",")
    if parsed["check"]:
        if call not in ("build", "check"):
            raise Failure("--check and --call are two questions: ask one")
        call = "check"
    call = {"lint": "check"}.get(call, call)
    if call not in CALLS:
        raise Failure(f"invalid --call {call!r}: use build, {', '.join(CALLS)}")
    for attribute in attributes:
        if attribute not in ("format=json", "format=text"):
            raise Failure(f"invalid --call attribute {attribute!r}: use format=json or format=text")
    return call, "format=json" in attributes
