"""What on the host keeps a container from starting: ports, mounts, disks. Blocks: off the loop."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ketch.engine.containers.record import ContainerRecord
from ketch.engine.containers.spec import PortSpec
from ketch.engine.networks.published_ports import wanted_ports
from ketch.engine.why.values import LIKELY, POSSIBLE, Finding
from ketch.linux import sockets
from ketch.network.ports import addresses_of, overlap

_FEW_BYTES, _FEW_FILES = 16 << 20, 64
_IN_USE = re.compile(r"address already in use|\bEADDRINUSE\b", re.I)
_PORT_IN_TEXT = re.compile(r"[:\s](\d{2,5})\b")


def findings(
    record: ContainerRecord, others: Iterable[ContainerRecord], data_root: str
) -> list[Finding]:
    """For a container that does not run."""
    running = [other for other in others if other.state.running and other.id != record.id]
    return [*_ports(record, running), *_mounts(record), *_disks(record, data_root)]


def _ports(record: ContainerRecord, running: list[ContainerRecord]) -> list[Finding]:
    found = []
    for port in wanted_ports(record.spec):
        if port.host_port.isdecimal() and int(port.host_port):
            finding = _port(port, running)
            if finding is not None:
                found.append(finding)
    return found


def _port(port: PortSpec, running: list[ContainerRecord]) -> Finding | None:
    number = int(port.host_port)
    what = f"The port {number}/{port.protocol} of the host, which it publishes, is held by"
    details: dict[str, str | int] = {"port": number, "protocol": port.protocol}
    for other in running:
        for held in other.state.ports:
            same = (held.host_port, held.protocol) == (number, port.protocol)
            if same and _overlap(held.host_ip, port.host_ip):
                text = f"{what} the container {other.name} ({other.id[:12]})."
                details |= {"container": other.id, "name": other.name}
                return Finding(kind="port", text=text, details=details)
    for pid, program in sockets.listeners(port.protocol, number):
        if pid != os.getpid():
            text = f"{what} the program {program} (PID {pid})."
            return Finding(kind="port", text=text, details={**details, "pid": pid, "name": program})
    return None


def _overlap(held: str, asked: str) -> bool:
    return any(overlap(held, address) for address in addresses_of(asked))


def _mounts(record: ContainerRecord) -> list[Finding]:
    made = {os.path.normpath(m.target) for m in record.spec.mounts if m.create_source}
    found = []
    for point in record.mount_points:
        if point.type not in ("bind", "volume") or os.path.lexists(point.source):
            continue
        if point.type == "bind" and point.target in made:
            continue
        what = "directory or file" if point.type == "bind" else f"directory of volume {point.name}"
        text = f"The {what} {point.source}, mounted at {point.target}, is not there."
        details: dict[str, str | int] = {"source": point.source, "target": point.target}
        found.append(Finding(kind="mount", text=text, details=details))
    return found


def _disks(record: ContainerRecord, data_root: str) -> list[Finding]:
    places = {data_root, *(p.source for p in record.mount_points if p.type in ("bind", "volume"))}
    found, seen = [], set()
    for place in sorted(places):
        try:
            device, space = os.stat(place).st_dev, os.statvfs(place)
        except OSError:
            continue
        if device in seen or not space.f_blocks or space.f_flag & os.ST_RDONLY:
            continue
        seen.add(device)
        if space.f_bavail * space.f_frsize < _FEW_BYTES:
            text = (
                f"The disk of {place} is full ({space.f_bavail * space.f_frsize} bytes are left)."
            )
            found.append(Finding(kind="disk", text=text, details={"path": place}))
        elif space.f_files and space.f_favail < _FEW_FILES:
            text = f"The disk of {place} has no room for more files ({space.f_favail} inodes left)."
            found.append(Finding(kind="disk", text=text, details={"path": place}))
    return found


def clash_inside(record: ContainerRecord, lines: Iterable[str]) -> list[Finding]:
    """A log that says that an address is in use: on the host's network the holder is looked for."""
    for line in reversed(list(lines)):
        if _IN_USE.search(line) is None:
            continue
        said = f'Its log says "{line.strip()[:200]}"'
        if record.spec.network_mode != "host":
            text = f"{said}: something else in the same network namespace listens there already."
            return [Finding(kind="port", text=text, certainty=POSSIBLE)]
        words = " ".join((line, *(record.spec.entrypoint or ()), *(record.spec.cmd or ())))
        return [_held_port(said, dict.fromkeys(map(int, _PORT_IN_TEXT.findall(words))))]
    return []


def _held_port(said: str, ports: Iterable[int]) -> Finding:
    """The first of the ports of the host that somebody holds."""
    for port in ports:
        for pid, program in sockets.listeners("tcp", port):
            text = f"{said}: the port {port} of the host is held by the program {program}"
            details: dict[str, str | int] = {"port": port, "pid": pid, "name": program}
            return Finding(
                kind="port", text=f"{text} (PID {pid}).", certainty=LIKELY, details=details
            )
    text = f"{said}, and it has the network of the host."
    return Finding(kind="port", text=text, certainty=LIKELY)
