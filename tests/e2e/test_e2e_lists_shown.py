"""What lists say of containers, where Docker's own answer is not the obvious one."""

from __future__ import annotations

import pytest

from e2e.ketch_program import ketch, out
from e2e.ketchd_process import Ketchd, busybox_tar

pytestmark = pytest.mark.root


def test_image_of_a_tag_that_moved(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("tag", "busybox", "moving:1")
    ketchd.docker("create", "--name", name, "moving:1")
    query = ("ps", "-a", "--filter", f"name={name}", "--format", "{{.Image}}")
    assert ketchd.out(*query) == "moving:1"
    ketchd.docker("rmi", "-f", "moving:1")
    identity = ketchd.out("inspect", "-f", "{{.Image}}", name)
    assert ketchd.out(*query) == identity[7:19]
    assert out(ketchd, *query) == identity[7:19]
    assert ketchd.out("inspect", "-f", "{{.Config.Image}}", name) == "moving:1"


def test_commands_with_spaces_and_quotes(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, "busybox", "sh", "-c", 'echo "a b"')
    query = ("ps", "-a", "--filter", f"name={name}", "--no-trunc", "--format", "{{.Command}}")
    assert ketchd.out(*query) == out(ketchd, *query) == r'''"sh -c 'echo \"a b\"'"'''


def test_task_filter(ketchd: Ketchd) -> None:
    refused = ketchd.docker("ps", "--filter", "is-task=x", code=1).stderr.decode()
    assert "invalid filter 'is-task=x'" in refused
    assert ketchd.out("ps", "-aq", "--filter", "is-task=true") == ""


def test_removal_by_force_of_what_is_not_there(ketchd: Ketchd) -> None:
    for done in (
        ketchd.docker("rm", "-f", "nobody-here", code=0),
        ketch(ketchd, "rm", "-f", "nobody-here", code=0),
    ):
        assert done.stderr.decode().strip() == (
            "Error response from daemon: No such container: nobody-here"
        )
    ketch(ketchd, "rm", "nobody-here", code=1)


def test_message_of_an_import(ketchd: Ketchd) -> None:
    ketchd.docker("import", "-m", "from a tar", "-", "imported:1", input=busybox_tar())
    assert ketchd.out("inspect", "-f", "{{.Comment}}", "imported:1") == "from a tar"
    ketchd.docker("rmi", "imported:1")


def test_tags_that_would_be_taken_for_ids(ketchd: Ketchd) -> None:
    refused = ketchd.docker("tag", "busybox", "sha256:x", code=1).stderr.decode()
    assert "refusing to create an ambiguous tag using digest algorithm as name" in refused


def test_bridge_cannot_be_removed_even_when_in_use(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    refused = ketchd.docker("network", "rm", "bridge", code=1).stderr.decode()
    assert "bridge is a pre-defined network and cannot be removed" in refused


def test_short_name_in_hosts(ketchd: Ketchd) -> None:
    hosts = ketchd.out("run", "--rm", "-h", "web.site.org", "busybox", "cat", "/etc/hosts")
    assert hosts.splitlines()[-1].split("\t")[1] == "web.site.org web"


def test_read_only_containers_cannot_change_their_names(ketchd: Ketchd) -> None:
    script = "for file in hosts hostname resolv.conf; do echo x >> /etc/$file && echo $file; done"
    assert ketchd.out("run", "--rm", "busybox", "sh", "-c", script).split() == [
        "hosts", "hostname", "resolv.conf",
    ]  # fmt: skip
    done = ketchd.docker("run", "--rm", "--read-only", "busybox", "sh", "-c", script, code=None)
    assert done.stdout == b""
    assert done.stderr.count(b"Read-only file system") == 3


def test_files_and_directories_do_not_cover_each_other(ketchd: Ketchd) -> None:
    for source, target in (("/etc/passwd", "/etc"), ("/etc", "/etc/passwd")):
        bind = f"{source}:{target}"
        refused = ketchd.docker("run", "--rm", "-v", bind, "busybox", code=125).stderr.decode()
        assert "a directory cannot be mounted onto a file, nor a file onto a directory" in refused


def test_words_of_run_and_rename(ketchd: Ketchd) -> None:
    words = ("run", "--rm", "--dns", "127.0.0.1", "busybox", "true")
    warned = b"WARNING: Localhost DNS (127.0.0.1) may fail in containers.\n"
    assert ketch(ketchd, *words).stderr == ketchd.docker(*words).stderr == warned
    quiet = ketch(ketchd, "run", "-q", "localhost:1/none", code=125).stderr.decode()
    assert "Unable to find image" not in quiet
    refused = ketch(ketchd, "run", "--cidfile", "/nowhere/x", "busybox", code=127).stderr.decode()
    assert refused.startswith(
        "ketch: failed to create the container ID file: open /nowhere/x: no such file or directory"
    )
    refused = ketch(ketchd, "rename", "x", "", code=1).stderr.decode()
    assert refused == "Error: Neither old nor new names may be empty\n"
