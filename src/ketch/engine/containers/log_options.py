"""Log drivers and their options: what there is, and what a request may ask (mostly pure).

Names, defaults and wording are Docker's (docs.docker.com/engine/logging). One default differs:
json-file is rotated, so that a container cannot fill the disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ketch import sizes
from ketch.engine import patterns
from ketch.engine.containers import log_tag
from ketch.engine.containers.spec import LogConfig
from ketch.errors import InvalidParameter, Unsupported
from ketch.logs import journald
from ketch.logs.syslog import split_address

DRIVERS = ("json-file", "local", "none", "syslog", "journald")
_MODE = frozenset({"mode", "max-buffer-size"})
_FILES = frozenset({"max-size", "max-file", "compress"})
_CACHE = frozenset({f"cache-{name}" for name in ("disabled", *_FILES)})
_ATTRS = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_TLS = ("ca-cert", "cert", "key", "skip-verify")
_SYSLOG = frozenset({"syslog-address", "syslog-facility", "syslog-format"})
_SYSLOG_TLS = frozenset(f"syslog-tls-{name}" for name in _TLS)
KNOWN = {
    "json-file": _FILES | _ATTRS | _MODE,
    "local": _FILES | _MODE,
    "syslog": _SYSLOG | _SYSLOG_TLS | _ATTRS | _MODE | _CACHE,
    "journald": _ATTRS | _MODE | _CACHE,
    "none": frozenset[str](),
}
FILE_DEFAULTS = {
    "json-file": {"max-size": "100m", "max-file": "2"},
    "local": {"max-size": "20m", "max-file": "5", "compress": "true"},
}
_FACILITIES = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp"
FACILITIES = {name: number for number, name in enumerate(_FACILITIES.split())} | {
    f"local{number}": 16 + number for number in range(8)
}
FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
BUFFER = "1m"


def available() -> tuple[str, ...]:
    """The drivers that work on this machine."""
    return tuple(name for name in DRIVERS if name != "journald" or os.path.exists(journald.SOCKET))


def completed(log: LogConfig, default: LogConfig) -> LogConfig:
    """With the daemon's driver when none is asked for, and its options for the same driver."""
    driver = log.driver or default.driver
    options = default.options if driver == default.driver else {}
    return LogConfig(driver=driver, options={**options, **log.options})


def check(log: LogConfig) -> None:
    """Raise ``InvalidParameter`` or ``Unsupported`` for what can't be honoured."""
    if log.driver not in DRIVERS:
        raise InvalidParameter(
            f"logger: no log driver named '{log.driver}' is registered; ketch has "
            f"{', '.join(DRIVERS)}"
        )
    if log.driver not in available():
        raise Unsupported(f"journald is not enabled on this host: there is no {journald.SOCKET}")
    for option in log.options:
        if option not in KNOWN[log.driver]:
            raise InvalidParameter(f"unknown log opt '{option}' for {log.driver} log driver")
    _check_mode(log.options)
    _check_attrs(log.options)
    _check_files(log)
    boolean(log.options, "cache-disabled")
    if log.driver == "syslog":
        _check_syslog(log.options)


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "blocking")
    if mode not in ("blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidParameter(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
            )
        if not parse_size(options["max-buffer-size"]):
            raise InvalidParameter("logger: max-buffer-size must be larger than 0")


def _check_attrs(options: Mapping[str, str]) -> None:
    for option in ("labels-regex", "env-regex"):
        try:
            patterns.check(options.get(option, ""))
        except InvalidParameter as error:
            raise InvalidParameter(f"log opt '{option}': {error}") from None
    log_tag.check(options.get("tag", ""))


def _check_files(log: LogConfig) -> None:
    options = file_options(log)
    size, files = parse_size(options["max-size"]), count(options["max-file"])
    if not boolean(options, "compress"):
        return
    prefix = _prefix(log)
    if f"{prefix}compress" in log.options and (files < 2 or not size):
        raise InvalidParameter(
            f"{prefix}compress cannot be true when {prefix}max-file is less than 2 or "
            f"{prefix}max-size is not set"
        )


def _check_syslog(options: Mapping[str, str]) -> None:
    facility = options.get("syslog-facility", "daemon")
    if facility not in FACILITIES and facility not in map(str, range(24)):
        raise InvalidParameter(f"invalid syslog facility: {facility}")
    form = options.get("syslog-format", "")
    if form not in FORMATS:
        raise InvalidParameter(f"Invalid syslog format: {form}")
    for option in ("labels", "labels-regex", "env", "env-regex"):
        if options.get(option) and not form.startswith("rfc5424"):
            raise InvalidParameter(
                f"log opt '{option}' needs syslog-format rfc5424 or rfc5424micro: other formats "
                "have no place for it"
            )
    _check_address(options)
    boolean(options, "syslog-tls-skip-verify")


def _check_address(options: Mapping[str, str]) -> None:
    address = options.get("syslog-address", "")
    protocol, separator, where = address.partition("://")
    if address and (not separator or not where):
        raise InvalidParameter(f"syslog-address should be in form proto://address, got {address}")
    if protocol not in ("", "unix", "unixgram", "udp", "tcp", "tcp+tls"):
        raise InvalidParameter(f"unsupported scheme: '{protocol}' in syslog-address")
    for option in sorted(_SYSLOG_TLS & options.keys()):
        if protocol != "tcp+tls":
            raise InvalidParameter(f"log opt '{option}' needs a syslog-address of tcp+tls://")
        if option != "syslog-tls-skip-verify" and not os.path.isfile(options[option]):
            raise InvalidParameter(f"{option}: there is no file {options[option]}")
    if protocol.startswith("unix"):
        if not os.path.exists(where):
            raise InvalidParameter(f"syslog-address: stat {where}: no such file or directory")
    elif protocol:
        try:
            _, port = split_address(where)
        except ValueError:
            port = 0
        if not 0 < port < 65536:
            raise InvalidParameter(f"syslog-address: {where!r} is no host and port")


def kept_as(log: LogConfig) -> str:
    """The driver in whose format the output is kept here: copies are ``local``."""
    return "json-file" if log.driver in ("", "json-file") else "local"


def file_options(log: LogConfig) -> dict[str, str]:
    """``max-size``, ``max-file`` and ``compress`` of the files, or of the copy (``cache-…``)."""
    prefix = _prefix(log)
    given = {name: log.options[f"{prefix}{name}"] for name in _FILES
             if f"{prefix}{name}" in log.options}  # fmt: skip
    return {"compress": "false", **FILE_DEFAULTS[kept_as(log)], **given}


def _prefix(log: LogConfig) -> str:
    return "" if log.driver in ("", *FILE_DEFAULTS) else "cache-"


def boolean(options: Mapping[str, str], name: str) -> bool:
    """A yes or no in the words of Go's strconv.ParseBool; absent is no."""
    text = options.get(name, "false")
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False", ""):
        return False
    raise InvalidParameter(f"log opt '{name}': {text!r} is neither true nor false")


def parse_size(text: str) -> int:
    """``10m`` → bytes; -1 is 0 (no bound). Raises ``InvalidParameter``."""
    if text == "-1":
        return 0
    return sizes.parse(text)


def count(text: str) -> int:
    """The number of files of a log, from 1 to 999; raises ``InvalidParameter``."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidParameter(f"max-file: {text!r} is no number from 1 to 999")
    if not 1 <= int(text) < 1000:
        raise InvalidParameter("max-file cannot be less than 1, nor more than 999")
    return int(text)
