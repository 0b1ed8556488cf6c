"""Flags and daemon.json."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ketch.daemon import config, flags
from ketch.daemon.builder_settings import collection, grantable
from ketch.engine.builder.cache.gc import Amounts, Rule, usual
from ketch.errors import InvalidParameter


def load(tmp_path: Path, document: Any, **given: Any) -> Any:
    path = tmp_path / "daemon.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return config.load(str(path), given, required=True)


def test_defaults_and_dockers_keys(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {
            "data-root": "/srv/ketch",
            "registry-mirrors": ["http://127.0.0.1:5000"],
            "insecure-registries": ["127.0.0.1:5000"],
            "log-opts": {"max-size": "10m"},
            "default-address-pools": [{"base": "10.10.0.0/16", "size": 24}],
            "live-restore": True,
            "storage-driver": "directory",
        },
    )
    assert settings.data_root == "/srv/ketch"
    assert settings.registry_mirrors == ("http://127.0.0.1:5000",)
    assert settings.default_address_pools[0].size == 24
    assert settings.listeners == ("unix:///run/ketch/ketch.sock",)
    assert settings.pid_path == "/run/ketch/ketchd.pid"


def test_a_cgroup_parent_is_below_the_root(tmp_path: Path) -> None:
    """Without a slash at its beginning, the steps of a killed daemon's builds were not found by the
    next, and ran on; its groups were not taken away by ``--cleanup``."""
    assert load(tmp_path, {"cgroup-parent": "mine/below/"}).cgroup_parent == "/mine/below"


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"bogus-key": 1}, "bogus-key"),
        ({"data-root": 7}, "data-root"),
        ({"data-root": "relative"}, "data-root"),
        ({"live-restore": False}, "live-restore"),
        ({"storage-driver": "zfs"}, "storage-driver: 'zfs' is not one of its values: erofs or"),
        ({"log-driver": "gelf"}, "log-driver"),
        ({"log-driver": "local", "log-opts": {"tag": "x"}}, "log-opts"),
        ({"cgroup-parent": "/a/../.."}, "cgroup-parent"),
        ({"cgroup-parent": "/"}, "cgroup-parent"),
        ({"bip": "nonsense"}, "bip"),
        ({"bridge": "a-name-that-is-too-long"}, "bridge"),
        ({"mtu": 1}, "mtu"),
        ({"labels": ["x"]}, "labels"),
        ({"hosts": ["ftp://x"]}, "hosts"),
        ({"hosts": ["tcp://0.0.0.0:2375"]}, "tlsverify"),
        ({"hosts": ["tcp://0.0.0.0:2376"], "tlsverify": True}, "tlscacert"),
        ({"exec-root": "/" + "x" * 80}, "exec-root"),
        ({"default-address-pools": [{"base": "10.0.0.0/24", "size": 8}]}, "default-address-pools"),
        ({"iptables": False}, "iptables"),
        ({"builder": {"bogus": 1}}, "bogus"),
        ({"builder": {"gc": {"enabled": 7}}}, "builder.gc.enabled"),
        ({"builder": {"entitlements": {"device": True}}}, "device"),
        ({"builder": {"gc": {"defaultMaxUsedSpace": "much"}}}, "defaultMaxUsedSpace: invalid size"),
        ({"builder": {"gc": {"policy": [{"filter": ["colour=red"]}]}}}, "filtered by 'colour'"),
        ({"builder": {"gc": {"policy": [{"filter": ["type=fast"]}]}}}, "type=fast"),
        ({"builder": {"gc": {"policy": [{"filter": ["unused-for=soon"]}]}}}, "unused-for"),
        (
            {"builder": {"gc": {"policy": [{"keepStorage": "1g", "reservedSpace": "1g"}]}}},
            "older name",
        ),
        ("[]", "not a JSON object"),
        ("{", "not a JSON object"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, document: Any, named: str) -> None:
    with pytest.raises(InvalidParameter, match=named):
        load(tmp_path, document)


def test_bounds_of_the_build_cache(tmp_path: Path) -> None:
    """Docker's documents, in its cases of letters."""

    def read(gc: Any) -> Any:
        return collection(load(tmp_path, {"builder": {"gc": gc}}).builder)

    total = 1000 << 30
    assert read({}).on(total)[1].amounts == usual(total)
    assert read({"enabled": False, "defaultKeepStorage": "1GB"}).on(total) == ()
    kept = read({"enabled": True, "defaultKeepStorage": "20GB"}).on(total)
    assert kept[1].amounts == Amounts(reserved=20 << 30)
    named = {"DefaultReservedSpace": "1g", "DefaultMaxUsedSpace": "2g", "DefaultMinFreeSpace": "3g"}
    amounts = Amounts(reserved=1 << 30, max_used=2 << 30, min_free=3 << 30)
    assert read(named).on(total)[1].amounts == amounts
    policy = [
        {"keepStorage": "10GB", "filter": ["unused-for=2200h", "type=exec.cachemount"]},
        {"All": True, "ReservedSpace": "50GB"},
    ]
    assert read({"policy": policy}).on(total) == (
        Rule(
            filters={"type": ("exec.cachemount",)},
            unused_for=2200 * 3600 * 10**9,
            amounts=Amounts(reserved=10 << 30),
        ),
        Rule(amounts=Amounts(reserved=50 << 30)),
    )
    assert read({"policy": []}).on(total) == ()


def test_flag_and_file_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="both as a flag and in"):
        load(tmp_path, {"debug": True}, debug=True)


def test_a_missing_file_matters_only_when_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    assert config.load(missing, {}, required=False).data_root == "/var/lib/ketch"
    with pytest.raises(InvalidParameter, match="does not exist"):
        config.load(missing, {}, required=True)


def test_flags() -> None:
    found = flags.parse(
        [
            "-H", "unix:///a", "--host=tcp://127.0.0.1:1", "--allow-insecure-tcp",
            "--data-root", "/d", "--log-opt", "max-size=1m",
            "--mtu=1400", "--registry-mirror", "http://m", "-D",
            "--default-address-pool", "base=10.0.0.0/8,size=24", "--config-file", "/c",
        ]
    )  # fmt: skip
    assert found.config_file == "/c"
    assert found.flags == {
        "hosts": ["unix:///a", "tcp://127.0.0.1:1"],
        "allow-insecure-tcp": True,
        "data-root": "/d",
        "log-opts": {"max-size": "1m"},
        "mtu": 1400,
        "registry-mirrors": ["http://m"],
        "debug": True,
        "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
    }


@pytest.mark.parametrize(
    "arguments", [["--bogus"], ["--mtu", "x"], ["--data-root"], ["--debug=maybe"], ["stray"]]
)
def test_bad_flags(arguments: list[str]) -> None:
    with pytest.raises(InvalidParameter):
        flags.parse(arguments)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ketch.daemon", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_program_help_version_and_mistakes(tmp_path: Path) -> None:
    usage = run("--help")
    assert usage.returncode == 0
    for flag in ("--host", "--data-root", "--registry-mirror", "--log-opt", "--tlsverify"):
        assert flag in usage.stdout
    assert run("--version").stdout.startswith("ketchd version ")
    bad = run("--bogus")
    assert (bad.returncode, bad.stderr) == (
        2,
        "ketchd: unknown flag: --bogus (see ketchd --help)\n",
    )
    path = tmp_path / "daemon.json"
    path.write_text('{"bogus": 1}')
    wrong = run("--config-file", str(path))
    assert wrong.returncode == 1
    assert "unknown key 'bogus'" in wrong.stderr


def test_what_builds_are_granted(tmp_path: Path) -> None:
    def read(value: Any) -> frozenset[str]:
        return grantable(load(tmp_path, {"builder": value}).builder)

    assert read({}) == {"network.host"}
    asked = {"Entitlements": {"network-host": False, "security-insecure": True}}
    assert read(asked) == {"security.insecure"}
