"""The table of commands: name → where it is implemented and what help says of it.

``module:function``; the module is imported only when its command runs. ``docker``'s short forms and
its grouped forms (``container ls``) are rows of the same table.
"""

COMMANDS: "dict[str, tuple[str, str]]" = {
    "run": ("run:run", "Create and run a new container from an image"),
    "exec": ("exec:execute", "Execute a command in a running container"),
    "ps": ("ps:ps", "List containers"),
    "build": ("build:build", "Build an image from a Dockerfile"),
    "pull": ("pull:pull", "Download an image from a registry"),
    "images": ("images:images", "List images"),
    "version": ("system:version", "Show the ketch version information"),
    "info": ("system:info", "Display system-wide information"),
    "attach": ("attach:attach", "Attach local standard streams to a running container"),
    "commit": ("commit:commit", "Create a new image from a container's changes"),
    "cp": ("cp:cp", "Copy files between a container and the local filesystem"),
    "create": ("run:create", "Create a new container"),
    "diff": ("inspect:diff", "Inspect changes to files in a container"),
    "events": ("system:events", "Get real time events from the engine"),
    "export": ("archive:export", "Export a container's filesystem as a tar archive"),
    "history": ("images:history", "Show the history of an image"),
    "import": ("archive:import_", "Import the contents from a tarball to create an image"),
    "inspect": ("inspect:inspect", "Return low-level information on objects"),
    "kill": ("control:kill", "Kill one or more running containers"),
    "login": ("login:login", "Authenticate to a registry"),
    "logout": ("login:logout", "Log out from a registry"),
    "load": ("archive:load", "Load images from a tar archive"),
    "logs": ("logs:logs", "Fetch the logs of a container"),
    "pause": ("control:pause", "Pause all processes within containers"),
    "port": ("inspect:port", "List port mappings of a container"),
    "push": ("push:push", "Upload an image to a registry"),
    "rename": ("control:rename", "Rename a container"),
    "restart": ("control:restart", "Restart one or more containers"),
    "rm": ("control:rm", "Remove one or more containers"),
    "rmi": ("images:rmi", "Remove one or more images"),
    "save": ("archive:save", "Save images to a tar archive"),
    "search": ("search:search", "Search a registry for images"),
    "start": ("attach:start", "Start one or more stopped containers"),
    "stop": ("control:stop", "Stop one or more running containers"),
    "tag": ("images:tag", "Create a tag that refers to an image"),
    "top": ("inspect:top", "Display the running processes of a container"),
    "unpause": ("control:unpause", "Unpause all processes within containers"),
    "update": ("update:update", "Change limits, ports, labels, environment or mounts"),
    "wait": ("control:wait", "Block until containers stop, then print their exit codes"),
    "image bootstrap": ("bootstrap:bootstrap", "Make a base image without a registry"),
    "image build": ("build:build", "Build an image from a Dockerfile"),
    "image history": ("images:history", "Show the history of an image"),
    "image import": ("archive:import_", "Import the contents from a tarball to create an image"),
    "image inspect": ("inspect:inspect_image", "Display detailed information on images"),
    "image load": ("archive:load", "Load images from a tar archive"),
    "image ls": ("images:images", "List images"),
    "image prune": ("images:prune", "Remove unused images"),
    "image pull": ("pull:pull", "Download an image from a registry"),
    "image push": ("push:push", "Upload an image to a registry"),
    "image rm": ("images:rmi", "Remove one or more images"),
    "image save": ("archive:save", "Save images to a tar archive"),
    "image tag": ("images:tag", "Create a tag that refers to an image"),
    "context create": ("contexts:create", "Create a context"),
    "context export": ("context_files:export", "Export a context to a tar archive FILE or STDOUT"),
    "context import": ("context_files:import_", "Import a context from a tar or zip file"),
    "context inspect": ("contexts:inspect", "Display detailed information on contexts"),
    "context ls": ("contexts:ls", "List contexts"),
    "context rm": ("contexts:rm", "Remove one or more contexts"),
    "context show": ("contexts:show", "Print the name of the current context"),
    "context update": ("contexts:update", "Update a context"),
    "context use": ("contexts:use", "Set the current docker context"),
    "container execs": ("execs:list_", "List the processes that exec started in a container"),
    "container exec-kill": ("execs:kill", "Send a signal to processes that exec started"),
    "container inspect": ("inspect:inspect_container", "Display information on containers"),
    "container ls": ("ps:ps", "List containers"),
    "container prune": ("control:prune", "Remove all stopped containers"),
    "network create": ("network:create", "Create a network"),
    "network inspect": ("inspect:inspect_network", "Display detailed information on networks"),
    "network ls": ("network:ls", "List networks"),
    "network rm": ("network:rm", "Remove one or more networks"),
    "volume create": ("volume:create", "Create a volume"),
    "volume inspect": ("inspect:inspect_volume", "Display detailed information on volumes"),
    "volume ls": ("volume:ls", "List volumes"),
    "volume prune": ("volume:prune", "Remove unused local volumes"),
    "volume rm": ("volume:rm", "Remove one or more volumes"),
    "system dial-stdio": ("dial:dial_stdio", "Proxy stdio to the engine (for ssh:// clients)"),
    "system df": ("system:df", "Show disk usage"),
    "system info": ("system:info", "Display system-wide information"),
    "system events": ("system:events", "Get real time events from the engine"),
}

CONTAINER_VERBS = [
    "attach",
    "commit",
    "cp",
    "create",
    "diff",
    "exec",
    "export",
    "kill",
    "logs",
    "pause",
    "port",
    "rename",
    "restart",
    "rm",
    "run",
    "start",
    "stop",
    "top",
    "unpause",
    "update",
    "wait",
]
COMMANDS.update({f"container {verb}": COMMANDS[verb] for verb in CONTAINER_VERBS})

ALIASES = {
    "container list": "container ls",
    "container ps": "container ls",
    "context list": "context ls",
    "context remove": "context rm",
    "image list": "image ls",
    "image remove": "image rm",
    "container remove": "container rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "network list": "network ls",
    "network remove": "network rm",
}

WITHOUT_ENGINE = ("context ", "logout")
"""Commands, by the beginning of their names, that talk to no engine."""

GROUPS = ("container", "context", "image", "network", "system", "volume")


def find(words: "list[str]") -> "tuple[str, list[str]] | None":
    """The command that ``words`` begin with and the words after it, or None."""
    if len(words) > 1 and words[0] in GROUPS:
        name = f"{words[0]} {words[1]}"
        name = ALIASES.get(name, name)
        return (name, words[2:]) if name in COMMANDS else None
    return (words[0], words[1:]) if words and words[0] in COMMANDS else None
