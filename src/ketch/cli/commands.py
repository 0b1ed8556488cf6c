"""The table of commands: name → where it is implemented and what help says of it.

``module:function``; the module is imported only when its command runs. ``docker``'s short forms and
its grouped forms (``container ls``) are rows of the same table.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMANDS: "dict[str, tuple[str, str]]" = {
    "run": ("run:run", "Create and run a new container from an image"),
    "exec": ("exec:execute", "Execute a command in a running container"),
    "ps": ("ps:ps", "List containers"),
    "build": ("build:build", "Build an image from a Dockerfile"),
    "pull": ("pull:pull", "Download an image from a registry"),
    "push": ("push:push", "Upload an image to a registry"),
    "images": ("images:images", "List images"),
    "login": ("login:login", "Authenticate to a registry"),
    "logout": ("login:logout", "Log out from a registry"),
    "search": ("search:search", "Search a registry for images"),
    "version": ("version:version", "Show the ketch version information"),
    "info": ("info:info", "Display system-wide information"),
    "attach": ("attach:attach", "Attach local standard streams to a running container"),
    "commit": ("commit:commit", "Create a new image from a container's changes"),
    "completion": ("completion:completion", "Print the completion script for a shell"),
    "cp": ("cp:cp", "Copy files between a container and the local filesystem"),
    "create": ("run:create", "Create a new container"),
    "diff": ("inspect:diff", "Inspect changes to files in a container"),
    "events": ("events:events", "Get real time events from the engine"),
    "export": ("archive:export", "Export a container's filesystem as a tar archive"),
    "history": ("history:history", "Show the history of an image"),
    "import": ("archive:import_", "Import the contents from a tarball to create an image"),
    "inspect": ("inspect:inspect", "Return low-level information on objects"),
    "kill": ("control:kill", "Kill one or more running containers"),
    "load": ("archive:load", "Load images from a tar archive or STDIN"),
    "logs": ("logs:logs", "Fetch the logs of a container"),
    "pause": ("control:pause", "Pause all processes within one or more containers"),
    "port": ("inspect:port", "List port mappings of a container"),
    "rename": ("control:rename", "Rename a container"),
    "restart": ("control:restart", "Restart one or more containers"),
    "rm": ("control:rm", "Remove one or more containers"),
    "rmi": ("images:rmi", "Remove one or more images"),
    "save": ("archive:save", "Save one or more images to a tar archive (STDOUT by default)"),
    "start": ("attach:start", "Start one or more stopped containers"),
    "stats": ("stats:stats", "Display a live stream of container(s) resource usage statistics"),
    "stop": ("control:stop", "Stop one or more running containers"),
    "tag": ("images:tag", "Create a tag that refers to an image"),
    "top": ("inspect:top", "Display the running processes of a container"),
    "unpause": ("control:unpause", "Unpause all processes within one or more containers"),
    "update": ("update:update", "Change limits, ports, labels, environment or mounts"),
    "wait": ("control:wait", "Block until containers stop, then print their exit codes"),
    "why": ("why:why", "Tell why a container stopped or will not start"),
    "builder build": ("build:build", "Build an image from a Dockerfile"),
    "builder history inspect": ("build_history:inspect", "Display the record of a build"),
    "builder history logs": ("build_history:logs", "Print what a build said"),
    "builder history ls": ("build_history:list_", "List builds, newest first"),
    "builder history rm": ("build_history:remove", "Remove builds from the history"),
    "builder history show": ("build_history:show", "Draw a build's steps and their times"),
    "builder prune": ("prune:builder", "Remove build cache"),
    "buildx build": ("build:build", "Build an image from a Dockerfile"),
    "buildx prune": ("prune:builder", "Remove build cache"),
    "container execs": ("execs:list_", "List the processes that exec started in a container"),
    "container exec-kill": ("execs:kill", "Send a signal to processes that exec started"),
    "container inspect": ("inspect:inspect_container", "Display information on containers"),
    "container ls": ("ps:ps", "List containers"),
    "container prune": ("prune:containers", "Remove all stopped containers"),
    "context create": ("contexts:create", "Create a context"),
    "context export": ("context_files:export", "Export a context to a tar archive FILE or STDOUT"),
    "context import": ("context_files:import_", "Import a context from a tar or zip file"),
    "context inspect": ("contexts:inspect", "Display detailed information on contexts"),
    "context ls": ("contexts:ls", "List contexts"),
    "context rm": ("contexts:rm", "Remove one or more contexts"),
    "context show": ("contexts:show", "Print the name of the current context"),
    "context update": ("contexts:update", "Update a context"),
    "context use": ("contexts:use", "Set the current docker context"),
    "image bootstrap": ("bootstrap:bootstrap", "Make a base image without a registry"),
    "image build": ("build:build", "Build an image from a Dockerfile"),
    "image history": ("history:history", "Show the history of an image"),
    "image import": ("archive:import_", "Import the contents from a tarball to create an image"),
    "image inspect": ("inspect:inspect_image", "Display detailed information on images"),
    "image load": ("archive:load", "Load images from a tar archive or STDIN"),
    "image ls": ("images:images", "List images"),
    "image prune": ("prune:images", "Remove unused images"),
    "image pull": ("pull:pull", "Download an image from a registry"),
    "image push": ("push:push", "Upload an image to a registry"),
    "image rm": ("images:rmi", "Remove one or more images"),
    "image save": ("archive:save", "Save one or more images to a tar archive (STDOUT by default)"),
    "image tag": ("images:tag", "Create a tag that refers to an image"),
    "network connect": ("network_ends:connect", "Connect a container to a network"),
    "network create": ("network:create", "Create a network"),
    "network disconnect": ("network_ends:disconnect", "Disconnect a container from a network"),
    "network inspect": ("inspect:inspect_network", "Display detailed information on networks"),
    "network ls": ("network:ls", "List networks"),
    "network prune": ("prune:networks", "Remove all unused networks"),
    "network rm": ("network:rm", "Remove one or more networks"),
    "system df": ("df:df", "Show disk usage"),
    "system dial-stdio": ("dial:dial_stdio", "Proxy stdio to the engine (for ssh:// clients)"),
    "system events": ("events:events", "Get real time events from the engine"),
    "system info": ("info:info", "Display system-wide information"),
    "system prune": ("prune:system", "Remove unused data"),
    "volume create": ("volume:create", "Create a volume"),
    "volume inspect": ("inspect:inspect_volume", "Display detailed information on volumes"),
    "volume ls": ("volume:ls", "List volumes"),
    "volume prune": ("prune:volumes", "Remove unused local volumes"),
    "volume rm": ("volume:rm", "Remove one or more volumes"),
}

CONTAINER_VERBS = [
    "attach", "commit", "cp", "create", "diff", "exec", "export", "kill", "logs", "pause", "port",
    "rename", "restart", "rm", "run", "start", "stats", "stop", "top", "unpause", "update", "wait",
    "why",
]  # fmt: skip
COMMANDS.update({f"container {verb}": COMMANDS[verb] for verb in CONTAINER_VERBS})
HISTORY_VERBS = ["inspect", "logs", "ls", "rm", "show"]
COMMANDS.update(
    {f"buildx history {verb}": COMMANDS[f"builder history {verb}"] for verb in HISTORY_VERBS}
)

ALIASES = {
    "builder history list": "builder history ls",
    "builder history remove": "builder history rm",
    "buildx history list": "buildx history ls",
    "buildx history remove": "buildx history rm",
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "context list": "context ls",
    "context remove": "context rm",
    "image list": "image ls",
    "image remove": "image rm",
    "image rmi": "image rm",
    "network list": "network ls",
    "network remove": "network rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}

WITHOUT_ENGINE = ("context ", "logout", "completion")
"""Commands, by the beginning of their names, that talk to no engine."""

COMPLETION = "__complete"
"""The command that the shells' scripts ask; help does not show it."""

GROUPS = {
    "builder": "Manage builds",
    "builder history": "Show the builds that there were",
    "buildx": "Manage builds",
    "buildx history": "Show the builds that there were",
    "container": "Manage containers",
    "context": "Manage contexts",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage ketch",
    "volume": "Manage volumes",
}

SWARM = "ketch manages one host and has no swarm mode"
REFUSED = {  # docker's commands that ketch has none of, and why
    "checkpoint": "containers cannot be checkpointed",
    "compose": "run 'docker compose' with DOCKER_HOST set to ketch's socket",
    "config": SWARM,
    "manifest": "use 'skopeo' or 'docker buildx imagetools' against the registry",
    "node": SWARM,
    "plugin": "the engine loads no plugins",
    "secret": SWARM,
    "service": SWARM,
    "stack": SWARM,
    "swarm": SWARM,
    "trust": "content trust (Notary) is not checked; pull by digest instead",
    "volume update": "only cluster volumes can be updated, and " + SWARM,
}
_HISTORY_REFUSED = {
    "export": "use 'docker buildx history export' with DOCKER_HOST set to ketch's socket",
    "import": "it is Docker Desktop that takes builds from elsewhere",
    "open": "it is for Docker Desktop; 'ketch build history show' draws a build",
    "trace": "'ketch build history show' draws a build's steps and their times",
}
REFUSED |= {
    f"{group} history {verb}": why
    for group in ("builder", "buildx")
    for verb, why in _HISTORY_REFUSED.items()
}


def group_of(words: "list[str]") -> str:
    """The longest group that ``words`` begin with, or nothing."""
    depth = 0
    while depth < len(words) and " ".join(words[: depth + 1]) in GROUPS:
        depth += 1
    return " ".join(words[:depth])


def under(group: str) -> "dict[str, str]":
    """What may follow a group's name, and what each is for."""
    rows = {name: text for name, (_, text) in COMMANDS.items()} | GROUPS
    start = f"{group} " if group else ""
    after = {n.removeprefix(start): text for n, text in rows.items() if n.startswith(start)}
    return {name: after[name] for name in sorted(after) if " " not in name}


def find(words: "list[str]") -> "tuple[str, list[str]] | None":
    """The command that ``words`` begin with and the words after it, or None."""
    depth = group_of(words).count(" ") + 2 if words and words[0] in GROUPS else 1
    if len(words) < depth:
        return None
    name = " ".join(words[:depth])
    name = ALIASES.get(name, name)
    return (name, words[depth:]) if name in COMMANDS else None


def spelled(words: "list[str]") -> "list[str]":
    """``build history VERB`` as ``builder history VERB``; a context may be called history, and
    nothing but flags follows it."""
    if words[:2] != ["build", "history"]:
        return words
    if len(words) == 2:
        is_meant = not os.path.exists("history")
    else:
        is_meant = not words[2].startswith("-") or words[2] in ("--help", "-h")
    return ["builder", *words[1:]] if is_meant else words


def refusal(words: "list[str]") -> str:
    """Why there is no such command although docker has it; empty for other words."""
    for name in (" ".join(words[:3]), " ".join(words[:2]), words[0]):
        if name in REFUSED:
            return f"ketch: '{name}' is not supported: {REFUSED[name]}"
    return ""


def module_of(name: str) -> "Any":
    """The module that implements a command."""
    module = COMMANDS[name][0].partition(":")[0]
    return __import__(f"ketch.cli.{module}", fromlist=[module])


def names_of(name: str) -> "list[str]":
    """Every name of a command, the grouped ones first."""
    place = COMMANDS[name][0]
    same = {other for other, row in COMMANDS.items() if row[0] == place}
    same |= {other for other, target in ALIASES.items() if target in same}
    return sorted(same, key=lambda other: (" " not in other, other))
