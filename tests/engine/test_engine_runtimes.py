"""Names of OCI runtimes, and their configuration as others take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ketch.engine.containers.runtimes import Program, Runtimes, check
from ketch.engine.spec.external import external_config
from ketch.errors import InvalidParameter
from ketch.runtime.seccomp.oci_format import read_seccomp, write_seccomp
from ketch.runtime.seccomp.profile import default_profile


@pytest.fixture
def runtimes(tmp_path: Path) -> Runtimes:
    configured = {
        "mine": Program(path="/bin/true", args=("--x",)),
        "gone": Program(path="/no/such"),
    }
    return Runtimes(str(tmp_path), configured, "mine")


def test_names(runtimes: Runtimes) -> None:
    assert runtimes.chosen("ketch") == ""
    assert runtimes.chosen("") == "mine"
    with pytest.raises(InvalidParameter, match="unknown or invalid runtime name: bogus"):
        runtimes.chosen("bogus")
    with pytest.raises(InvalidParameter, match="/no/such is not installed"):
        runtimes.chosen("gone")


def test_wire(runtimes: Runtimes, tmp_path: Path) -> None:
    assert runtimes.wire("") is None
    wanted = {"path": "/bin/true", "args": ["--x"], "root": f"{tmp_path}/mine"}
    assert runtimes.wire("mine") == wanted


@pytest.mark.parametrize(
    ("name", "default"), [("ketch", ""), ("../x", ""), ("", ""), ("ok", "other")]
)
def test_configurations_that_make_no_sense(name: str, default: str) -> None:
    with pytest.raises(InvalidParameter):
        check({name: Program(path="/bin/true")}, default)


def test_seccomp_is_written_as_it_is_read() -> None:
    profile = default_profile(frozenset(("CAP_SYS_ADMIN", "CAP_SYS_PTRACE")))
    assert read_seccomp(write_seccomp(profile)) == profile


def test_external_config() -> None:
    """Nothing that only new runtimes know; a domain name is set as a sysctl."""
    config = {
        "ociVersion": "1.2.0",
        "domainname": "example.org",
        "linux": {"namespaces": [{"type": "uts"}, {"type": "time"}], "sysctl": {"a": "b"}},
    }
    made = external_config(config, None)
    assert made["linux"]["namespaces"] == [{"type": "uts"}]
    assert made["linux"]["sysctl"] == {"a": "b", "kernel.domainname": "example.org"}
    assert "domainname" not in made
    assert "seccomp" not in made["linux"]
