"""The flags of ``ketch build``, as a table, and the query of POST /build that they make."""

import os

from ketch.cli import flag_values as value
from ketch.cli.flags import Failure, Flag
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed

EPOCH = "SOURCE_DATE_EPOCH"
PROGRESS = ("auto", "plain", "tty", "rawjson", "quiet", "none")
FLAGS = (
    Flag("add-host", "", "list", 'Add a custom host-to-IP mapping ("host:ip")',
         convert=value.extra_host),
    Flag("allow", "", "strings", "Allow an entitlement (network.host, security.insecure)",
         values=("network.host", "security.insecure")),
    Flag("attest", "", "list", "Attestation parameters (type=sbom, type=provenance,mode=max)"),
    Flag("annotation", "", "list", "Add annotation to the image"),
    Flag("build-arg", "", "list", "Set build-time variables", convert=value.environment_word),
    Flag("build-context", "", "list",
         "Additional build contexts (name=path, URL, docker-image://ref or oci-layout://path)"),
    Flag("cache-from", "", "list", "External cache sources (name, type=registry|local,...)",
         type="strings", values="images"),
    Flag("cache-to", "", "list", "Cache export destinations (type=inline|registry|local,...)"),
    Flag("call", "", "text", "Ask about the Dockerfile instead of building (check, outline, "
         "targets; with ,format=json)", "build", values=("build", "check", "outline", "targets")),
    Flag("cgroup-parent", help='Set the parent cgroup for the "RUN" instructions', default=""),
    Flag("check", "", "switch", "Check the Dockerfile (shorthand for --call=check)"),
    Flag("compress", "", "switch", "Compress the build context using gzip"),
    Flag("cpu-period", kind="number", help="Limit the CPU CFS period", default=0),
    Flag("cpu-quota", kind="number", help="Limit the CPU CFS quota", default=0),
    Flag("cpu-shares", "c", "number", "CPU shares (relative weight)", 0),
    Flag("cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)", default=""),
    Flag("cpuset-mems", help="MEMs in which to allow execution (0-3, 0,1)", default=""),
    Flag("disable-content-trust", "", "switch", "Skip image verification", True),
    Flag("file", "f", "text", 'Name of the Dockerfile (Default is "PATH/Dockerfile")', "",
         values="files"),
    Flag("force-rm", "", "switch", "Always remove intermediate containers"),
    Flag("iidfile", help="Write the image ID to the file", default="", values="files"),
    Flag("isolation", help="Container isolation technology", default=""),
    Flag("label", "", "list", "Set metadata for an image", convert=value.label),
    Flag("load", "", "switch", "Keep the result as an image, besides other outputs"),
    Flag("memory", "m", "text", "Memory limit", 0, type="bytes", convert=value.size),
    Flag("memory-swap", help="Swap limit equal to memory plus swap: -1 to enable unlimited swap",
         default=0, type="bytes", convert=value.size_or_unlimited),
    Flag("metadata-file", help="Write build result metadata to a file", default="",
         values="files"),
    Flag("network", help="Set the networking mode for the RUN instructions during build",
         default="default", values=("default", "host", "none")),
    Flag("no-cache", "", "switch", "Do not use cache when building the image"),
    Flag("no-cache-filter", "", "strings", "Do not cache the named stages"),
    Flag("output", "o", "list", 'Output destination (format: "type=local,dest=path")'),
    Flag("platform", help="Set platform if server is multi-platform capable", default="",
         values="platforms"),
    Flag("progress", help="Type of progress output (auto, plain, tty, rawjson, quiet, none)",
         default="auto", values=PROGRESS),
    Flag("provenance", help='Shorthand for "--attest=type=provenance"', default=""),
    Flag("pull", "", "switch", "Always attempt to pull a newer version of the image"),
    Flag("push", "", "switch", 'Shorthand for "--output=type=registry"'),
    Flag("quiet", "q", "switch", "Suppress the build output and print image ID on success"),
    Flag("rm", "", "switch", "Remove intermediate containers after a successful build", True),
    Flag("sbom", help='Shorthand for "--attest=type=sbom"', default=""),
    Flag("secret", "", "list", "Secret to lend to the build (id=NAME,src=FILE or env=VARIABLE)"),
    Flag("security-opt", "", "strings", "Security options"),
    Flag("shell-on-failure", "", "switch", "Open a shell in the state before a step that failed"),
    Flag("shm-size", help='Size of "/dev/shm"', default=0, type="bytes", convert=value.size),
    Flag("ssh", "", "list", "SSH agent or keys to lend to the build (default|id[=socket|key,...])"),
    Flag("squash", "", "switch", "Squash newly built layers into a single new layer"),
    Flag("tag", "t", "list", 'Name and optionally a tag in the "name:tag" format'),
    Flag("target", help="Set the target build stage to build.", default=""),
    Flag("ulimit", "", "list", "Ulimit options", type="ulimit", convert=value.ulimit,
         values="ulimits"),
    Flag("verify", "", "switch", "Build twice without cache and fail if the results differ"),
)  # fmt: skip
PLAIN = {  # sent when given: flag, parameter
    "cgroup-parent": "cgroupparent",
    "cpu-period": "cpuperiod",
    "cpu-quota": "cpuquota",
    "cpu-shares": "cpushares",
    "cpuset-cpus": "cpusetcpus",
    "cpuset-mems": "cpusetmems",
    "force-rm": "forcerm",
    "isolation": "isolation",
    "memory": "memory",
    "memory-swap": "memswap",
    "no-cache": "nocache",
    "platform": "platform",
    "pull": "pull",
    "quiet": "q",
    "security-opt": "securityopt",
    "shm-size": "shmsize",
    "squash": "squash",
    "target": "target",
}


def progress(parsed: "Parsed") -> str:
    """How a build is shown: by the flag, else by buildx's variable; raises ``Failure``."""
    wanted: str = parsed["progress"]
    if "progress" not in parsed.given:
        wanted = os.environ.get("BUILDKIT_PROGRESS") or wanted
    if wanted not in PROGRESS:
        raise Failure(f"invalid progress {wanted!r}: use {', '.join(PROGRESS)}")
    return wanted


def query(parsed: "Parsed", dockerfile: str) -> "dict[str, Any]":
    """The parameters of POST /build; raises ``Failure``."""
    if not parsed["disable-content-trust"]:
        raise Failure("--disable-content-trust=false is not supported: name images by digest")
    found: dict[str, Any] = {
        parameter: parsed[flag] for flag, parameter in PLAIN.items() if flag in parsed.given
    }
    found.update(
        {
            "dockerfile": dockerfile,
            "t": parsed["tag"],
            "rm": "1" if parsed["rm"] else "0",
            "networkmode": parsed["network"],
            "extrahosts": parsed["add-host"],
        }
    )
    if "no-cache-filter" in parsed.given:
        found["nocachefilter"] = _stages(parsed)
    if parsed["allow"]:
        found["allow"] = parsed["allow"]
    attestations = _attestations(parsed)
    if attestations:
        found["attestations"] = attestations
    if parsed["verify"]:
        found["verify"] = "1"
    if parsed["shell-on-failure"]:
        found["stepwise"] = "1"
    if parsed["build-context"]:
        found["buildcontexts"] = _contexts(parsed["build-context"])
    if parsed["ulimit"]:
        found["ulimits"] = fastjson.dumps(parsed["ulimit"]).decode()
    if parsed["build-arg"] or os.environ.get(EPOCH):
        found["buildargs"] = _arguments(parsed["build-arg"])
    if parsed["label"]:
        found["labels"] = dict(value.pair(word) for word in parsed["label"])
    return found


def _stages(parsed: "Parsed") -> "list[str]":
    """Those that take nothing from the cache."""
    if parsed["no-cache"]:
        raise Failure("--no-cache and --no-cache-filter can't be used together")
    if not parsed["no-cache-filter"] or not all(parsed["no-cache-filter"]):
        raise Failure("--no-cache-filter needs the name of a stage; for all of them: --no-cache")
    return parsed["no-cache-filter"]  # type: ignore[no-any-return]


def _attestations(parsed: "Parsed") -> "dict[str, str]":
    """Options by type; the last word about a type counts."""
    found = {}
    for text in parsed["attest"]:
        words = text.split(",")
        kinds = [word[5:] for word in words if word.startswith("type=")]
        if len(kinds) != 1:
            raise Failure(f"invalid attestation {text!r}: write type=sbom or type=provenance,...")
        found[kinds[0]] = text
    for kind in ("provenance", "sbom"):
        if parsed[kind]:
            found[kind] = parsed[kind]
    return found


def _contexts(words: "list[str]") -> "dict[str, str]":
    """``name=value``; a directory of this machine is sent, and then known by its name."""
    found = {}
    for word in words:
        name, equals, target = word.partition("=")
        if not equals or not name or not target:
            raise Failure(f"invalid build context {word!r}: write name=PATH|URL|docker-image://…")
        if target.startswith("oci-layout://"):
            from ketch.cli import build_layouts

            found[name.lower()] = build_layouts.value(name, target)
            continue
        local = os.path.isdir(target)
        if not local and not is_remote(target):
            raise Failure(f"build context {name}: {target} is no directory")
        found[name.lower()] = f"local:{name.lower()}" if local else target
    return found


def directories(words: "list[str]") -> "dict[str, str]":
    """The directories among ``--build-context``, by name."""
    pairs = (word.partition("=") for word in words)
    return {name.lower(): path for name, _, path in pairs if os.path.isdir(path)}


def is_remote(path: str) -> bool:
    """What the engine fetches: an archive, a Dockerfile, a repository or an image by URL."""
    return "://" in path or path.startswith("github.com/") or "@" in path.partition(":")[0]


def _arguments(words: "list[str]") -> "dict[str, str | None]":
    """``--build-arg NAME`` without a value takes the caller's variable, None when unset;
    SOURCE_DATE_EPOCH is taken without being named (reproducible-builds.org)."""
    found = {
        name: (text if equals else os.environ.get(name))
        for name, equals, text in (word.partition("=") for word in words)
    }
    if os.environ.get(EPOCH):
        found.setdefault(EPOCH, os.environ[EPOCH])
    return found
