"""Legacy links (``--link``) on the default bridge: entries in /etc/hosts, and variables.

A link is one way: the container that has it finds the other by an alias, by its name and by its
hostname, and in its environment. When the other gets a new address, the entries of those that link
to it follow; what runs keeps its environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers.link_variables import variables
from ketch.engine.containers.record import ContainerRecord, LinkedTo
from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import Conflict, InvalidParameter, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ketch.engine.containers.store import ContainerStore

_SHARED = {
    "host": "host type networking can't be used with links",
    "container": "container type network can't be used with links",
}


def check(spec: ContainerSpec) -> None:
    """Raise ``InvalidParameter`` for links that make no sense with the network."""
    if not spec.links:
        return
    kind = spec.network_mode.partition(":")[0]
    if kind in _SHARED:
        raise InvalidParameter(
            f"conflicting options: {_SHARED[kind]}. This would result in undefined behavior"
        )
    if kind != "bridge":
        raise InvalidParameter(
            f"--link needs the default bridge: it is not supported by ketch on the network {kind}"
        )
    for link in spec.links:
        parse(link)


def parse(link: str) -> tuple[str, str]:
    """``name[:alias]`` as (name, alias); raises ``InvalidParameter``."""
    name, colon, alias = link.partition(":")
    if not name or ":" in alias or (colon and not alias):
        raise InvalidParameter(f"bad format for links: {link}")
    return name, (alias or name).removeprefix("/")


def resolved(store: ContainerStore, spec: ContainerSpec) -> tuple[LinkedTo, ...]:
    """The containers that a specification links to; raises ``InvalidParameter``."""
    found = []
    for link in spec.links:
        name, alias = parse(link)
        try:
            child = store.resolve(name)
        except NotFound:
            raise InvalidParameter(
                f"could not get container for {name}: No such container: {name}"
            ) from None
        if child.spec.network_mode == "host":
            raise InvalidParameter(
                "conflicting options: host type networking can't be used with links. This would "
                "result in undefined behavior"
            )
        found.append(LinkedTo(container=child.id, name=child.name, alias=alias))
    return tuple(found)


def hosts(store: ContainerStore, record: ContainerRecord) -> Iterator[tuple[str, str]]:
    """(address, names) of each linked container; raises ``Conflict`` when one does not run."""
    for link in record.links:
        child = store.find(link.container)
        if child is None:
            continue  # removed, and the link with it
        if not child.state.running:
            raise Conflict(
                f"Cannot link to a non running container: /{child.name} AS "
                f"/{record.name}/{link.alias}"
            )
        yield from _entry(link, child)


def environment(store: ContainerStore, record: ContainerRecord) -> tuple[str, ...]:
    """The variables of a container's links to those that run."""
    found: list[str] = []
    for link in record.links:
        child = store.find(link.container)
        if child is None:
            continue
        for address in _addresses(child):
            found += variables(record.name, link.alias, address, child.spec)
    return tuple(found)


def _addresses(child: ContainerRecord) -> Iterator[str]:
    for endpoint in child.state.endpoints:
        if endpoint.network == "bridge" and endpoint.ipv4:
            yield endpoint.ipv4


def _entry(link: LinkedTo, child: ContainerRecord) -> Iterator[tuple[str, str]]:
    hostname = child.spec.hostname or child.id[:12]
    names = " ".join(dict.fromkeys((link.alias, hostname, child.name)))
    for address in _addresses(child):
        yield address, names


def refresh(store: ContainerStore, child: ContainerRecord) -> None:
    """``child`` runs anew: whoever is running and links to it gets its address."""
    for parent in store.linking():
        for link in parent.links:
            if link.container == child.id and parent.state.running:
                _rewrite(parent, link, tuple(_entry(link, child)))


def _rewrite(parent: ContainerRecord, link: LinkedTo, entries: tuple[tuple[str, str], ...]) -> None:
    """Replace the lines of a link in the parent's hosts file, which is mounted: in place."""
    with open(f"{parent.bundle}/hosts", "r+", encoding="utf-8", errors="replace") as file:
        kept = [line for line in file if line.split()[1:2] != [link.alias]]
        file.seek(0)
        file.writelines([*kept, *(f"{address}\t{names}\n" for address, names in entries)])
        file.truncate()


def names_of(store: ContainerStore, record: ContainerRecord) -> list[str]:
    """``parent/alias`` of every link to a container: further names of it."""
    return [
        f"{parent.name}/{link.alias}"
        for parent in store.linking()
        for link in parent.links
        if link.container == record.id
    ]


def remove(store: ContainerStore, ref: str) -> None:
    """``rm --link parent/alias``; raises ``Conflict``, ``NotFound``."""
    parent_name, slash, alias = ref.strip("/").partition("/")
    parent = store.resolve(parent_name)
    if not slash:
        raise Conflict("Conflict, cannot remove the default link name of the container")
    gone = [link for link in parent.links if link.alias == alias]
    if not gone:
        raise NotFound(f"No such container: {ref}")
    _without(store, parent, gone[0])
    if parent.state.running:
        _rewrite(parent, gone[0], ())


def _without(store: ContainerStore, parent: ContainerRecord, gone: LinkedTo) -> None:
    asked = tuple(link for link in parent.spec.links if parse(link)[1] != gone.alias)
    store.replace(
        parent.id,
        links=tuple(link for link in parent.links if link != gone),
        spec=msgspec.structs.replace(parent.spec, links=asked),
    )


def forget(store: ContainerStore, container_id: str) -> None:
    """A container was removed, and the links to it with it."""
    for parent in store.linking():
        for link in parent.links:
            if link.container == container_id:
                _without(store, store.by_id(parent.id), link)


def renamed(store: ContainerStore, record: ContainerRecord) -> None:
    """``record`` has a new name: the links to it show that one."""
    for parent in store.linking():
        if any(link.container == record.id for link in parent.links):
            links = tuple(
                msgspec.structs.replace(link, name=record.name)
                if link.container == record.id
                else link
                for link in parent.links
            )
            store.replace(parent.id, links=links)
