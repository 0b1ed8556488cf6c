"""Who listens on a port of this machine (proc_pid_net(5), proc_pid_fd(5))."""

from __future__ import annotations

import os

_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h
_FILES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}


def listeners(protocol: str, port: int) -> list[tuple[int, str]]:
    """(PID, program) of the processes that hold ``port`` in the caller's network namespace."""
    inodes = {inode for name in _FILES.get(protocol, ()) for inode in _inodes(name, port)}
    if not inodes:
        return []
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return [(pid, _program(pid)) for pid in _processes() if wanted & _sockets(pid)]


def _inodes(table: str, port: int) -> list[str]:
    try:
        with open(f"/proc/self/net/{table}", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return []
    return [
        row[9]
        for row in rows
        if int(row[1].rpartition(":")[2], 16) == port
        and (row[3] == _LISTEN or table.startswith("udp"))
    ]


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
            except OSError:
                continue
    except OSError:
        pass
    return found


def _program(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
