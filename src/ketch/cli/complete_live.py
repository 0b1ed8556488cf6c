"""What completion asks the engine and the configuration: names of what is there now."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUNNING = ("running", "paused", "restarting")


class TooSlow(Exception):
    """The engine does not answer in time."""


class Live:
    """Lists of names by kind; the engine is that of the global flags typed so far."""

    def __init__(self, globals_: "dict[str, str]", patience: int) -> None:
        self._globals = globals_
        self._patience = patience

    def of(self, kind: str, typed: str = "") -> "dict[str, str]":
        """Names with descriptions; nothing when the engine cannot be asked."""
        if kind == "contexts":
            return self._contexts()
        from _signal import ITIMER_REAL, SIGALRM, setitimer, signal  # type: ignore[import-not-found]

        def give_up(_number: int, _frame: object) -> None:
            raise TooSlow

        signal(SIGALRM, give_up)
        setitimer(ITIMER_REAL, self._patience)
        try:
            return self._asked(kind, typed)
        finally:
            setitimer(ITIMER_REAL, 0)

    def _asked(self, kind: str, typed: str) -> "dict[str, str]":
        if kind in ("containers", "running", "startable", "paused", "copy"):
            return self._containers(kind, typed)
        if kind in ("images", "repositories"):
            return self._images(kind)
        if kind == "networks":
            return {item["Name"]: item["Driver"] for item in self._get("/networks")}
        if kind in ("volumes", "volumes-or-paths"):
            items = self._get("/volumes").get("Volumes") or ()
            return {item["Name"]: item["Driver"] for item in items}
        if kind == "log-drivers":
            return dict.fromkeys((*self._get("/info")["Plugins"]["Log"], "none"), "")
        if kind == "runtimes":
            return dict.fromkeys(self._get("/info")["Runtimes"], "")
        found: dict[str, str] = {}
        if kind == "objects":
            for each in ("volumes", "networks", "images", "containers"):
                found.update(self._asked(each, typed))
        return found

    def _get(self, path: str) -> "Any":
        from ketch.client.api import Client
        from ketch.client.endpoint import from_environment

        host, context = self._globals.get("host", ""), self._globals.get("context", "")
        return Client(from_environment(host, context)).call("GET", path)

    def _containers(self, kind: str, typed: str) -> "dict[str, str]":
        found = {}
        for item in self._get("/containers/json?all=1"):
            state = item["State"]
            if kind == "running" and state not in RUNNING:
                continue
            if kind == "startable" and state in RUNNING:
                continue
            if kind == "paused" and state != "paused":
                continue
            text = f"{item['Image']}, {item['Status']}"
            for name in item["Names"]:
                found[name.lstrip("/") + (":" if kind == "copy" else "")] = text
            if kind != "copy" and len(typed) > 2 and item["Id"].startswith(typed):
                found[item["Id"][:12]] = text
        return found

    def _images(self, kind: str) -> "dict[str, str]":
        found = {}
        for item in self._get("/images/json"):
            for name in item.get("RepoTags") or ():
                repository, _, tag = name.rpartition(":")
                if kind == "repositories" or tag == "latest":
                    found[repository] = ""
                if kind == "images":
                    found[name] = ""
        return found

    def _contexts(self) -> "dict[str, str]":
        from ketch.client.contexts import Store

        return dict.fromkeys(["default", *Store().names()], "")
