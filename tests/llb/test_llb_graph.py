"""Definitions of clients: what a graph says, and what of it is refused by name."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.errors import InvalidParameter, Unsupported
from ketch.llb import exec_messages as pb
from ketch.llb import messages as llb
from ketch.llb.graph import graph_of
from ketch.llb.vertices import Edge, Exec, Files, HttpSource, ImageSource, LocalSource
from ketch.protobuf import Message, field
from llb.graphs import (
    Node,
    action,
    copy,
    definition,
    diff,
    files,
    image,
    merge,
    mkdir,
    mkfile,
    mount,
    node,
    run,
    source,
)

BASE = image("busybox")


def only(outcome: Node) -> object:
    """What the last vertex says."""
    return graph_of(definition(outcome)).vertices[-1].work


def test_a_graph_has_its_inputs_first_and_each_once() -> None:
    left, right = run(BASE, "a"), run(BASE, "b")
    graph = graph_of(definition(merge(left, right)))
    names = [vertex.name for vertex in graph.vertices]
    base = "docker-image://docker.io/library/busybox:latest"
    assert names == [base, "sh -c a", "sh -c b", "merge (sh -c a, sh -c b)"]
    assert graph.outcome == Edge(merge(left, right).digest, 0)
    shuffled = definition(merge(left, right))
    shuffled.ops[:-1] = shuffled.ops[-2::-1]
    assert graph_of(shuffled).vertices == graph.vertices
    assert graph_of(llb.Definition()).outcome is None


def test_sources() -> None:
    assert only(source("docker-image://x", image__resolvemode="pull")) == ImageSource(
        reference="x", pull=True
    )
    asked = {"local__session": "s", "local__followpaths": '["a"]', "local__sharedkeyhint": "h"}
    assert only(source("local://d", **asked)) == LocalSource(name="d", session="s", follow=("a",))
    assert only(source("https://h/d/f%20g?x", http__perm="0644")) == HttpSource(
        url="https://h/d/f%20g?x", filename="f g", mode=0o644
    )


def test_a_command_with_its_mounts() -> None:
    mounts = [
        mount(0, "/out/../o", 1),
        mount(-1, "/c", mountType=pb.CACHE, cacheOpt=pb.CacheOpt(ID="i")),
    ]
    asked = {"env": ["A=b"], "user": "7", "cwd": "w", "validExitCodes": [0, 3], "hostname": "h"}
    found = only(run(BASE, "x", mounts, meta=asked, network=pb.NO_NETWORK))
    assert isinstance(found, Exec)
    assert (found.cwd, found.exit_codes, found.network) == ("/w", (0, 3), "none")
    assert {number: one.target for number, one in found.outputs.items()} == {0: "/", 1: "/o"}
    assert (found.mounts[1].type, found.mounts[1].id, found.mounts[1].output) == ("cache", "i", -1)


def test_names_and_metadata() -> None:
    outcome = run(BASE, "x")
    told = llb.OpMetadata(ignore_cache=True, description={"llb.customname": "mine"})
    vertex = graph_of(definition(outcome, **{outcome.digest: told})).vertices[-1]
    assert (vertex.name, vertex.fresh) == ("mine", True)
    private = source("https://user:word@host/x")
    assert graph_of(definition(private)).vertices[-1].name == "https://host/x"
    changed = files([action(-1, mkfile=mkfile("/a", b"")), action(1, 1, mkdir=mkdir("/b"))], BASE)
    vertex = graph_of(definition(changed.at(1))).vertices[-1]
    assert vertex.name == "mkfile /a, mkdir /b"
    assert isinstance(vertex.work, Files)
    assert vertex.outputs == {0, 1}


class Unknown(Message):
    """A field that nobody knows."""

    it: int = field(77)


def with_unknown(op: llb.Op) -> Node:
    return Node((op.encode() + Unknown(it=1).encode(),))


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (with_unknown(llb.Op(source=llb.SourceOp(identifier="local://x"))), "field 77 of Op"),
        (source("ftp://x"), "'ftp://x' is of a kind"),
        (source("local://x", local__other="y"), "'local.other' of the source local://x"),
        (source("https://x/y", http__header__accept="*"), "'http.header.accept'"),
        (source("git://x", git__authtokensecret="MINE"), "git.authtokensecret='MINE'"),
        (run(BASE, "x", root_mount={"selector": "/sub"}), "a selector of the mount at /"),
        (node(llb.Op(constraints=llb.WorkerConstraints(filter=["a"]), merge=llb.MergeOp())),
         "constraints of a vertex"),
        (node(llb.Op(build=llb.BuildOp(builder=-1, definition=llb.Definition(ops=[b"x"])))),
         "definition of a build op"),
    ],
)  # fmt: skip
def test_what_is_not_honoured_is_refused_by_name(outcome: Node, told: str) -> None:
    with pytest.raises(Unsupported, match="build graph") as caught:
        graph_of(definition(outcome))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Node((b"\xff",)), "malformed message"),
        (node(llb.Op(), BASE), "does one thing, not 0"),
        (node(llb.Op(merge=llb.MergeOp(), diff=llb.DiffOp())), "does one thing, not 2"),
        (BASE.at(1), "no output 1"),
        (run(BASE, "x", [mount(0, "/o", 2)]).at(1), "no output 1"),
        (run(BASE, "x", [mount(1, "/in")]), "no input 1"),
        (run(BASE, "x", [mount(0, "/o", 0)]), "the same output"),
        (run(BASE, "x", [mount(0, "/../")]), "one mount at /, not 2"),
        (run(BASE, "x", [mount(0, "rel")]), "no absolute path"),
        (run(BASE, "x", [mount(-1, "/s", mountType=pb.SECRET)]), "has no ID"),
        (run(BASE, "x", [mount(-1, "/s", mountType=9)]), "unknown type"),
        (run(BASE, "x", network=7), "unknown network"),
        (run(BASE, "x", meta={"args": []}), "no args"),
        (run(BASE, "x\0"), "NUL"),
        (merge(BASE), "at least 2"),
        (node(llb.Op(diff=llb.DiffOp(lower=llb.MergeInput(input=3)))), "no input 3"),
        (files([]), "no actions"),
        (files([llb.FileAction()]), "does one thing, not 0"),
        (files([action(1, mkdir=mkdir("/x"))], BASE), "wrong input: 1"),
        (files([action(0, 0, 9, copy=copy("/a", "/b"))], BASE), "wrong input: 9"),
        (files([action(-1, mkdir=mkdir(""))]), "invalid path"),
        (files([action(-1, mkdir=mkdir("/x"))] * 2), "the same output"),
        (files([action(-1, 0, -1, copy=copy("/a", "/b", modeStr="q"))]), "invalid"),
        (node(llb.Op(build=llb.BuildOp(builder=-1))), "has one input"),
        (source("local"), "invalid source"),
        (source("docker-image://x", image__resolvemode="y"), "is malformed"),
        (source("local://x", local__followpaths="{}"), "is malformed"),
        (source("https://x", http__checksum="md5:0"), "is malformed"),
        (source("https://x", http__filename="../y"), "is malformed"),
        (source("oci-layout://x"), "no digest"),
        (source("ketch-result://x", ketch__config="[]"), "no result of a build"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(outcome: Node, told: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        graph_of(definition(outcome))
    assert told in str(caught.value)


def test_the_last_vertex_names_the_outcome_and_inputs_have_to_be_there() -> None:
    whole = definition(run(BASE, "x"))
    for ops, told in (
        (whole.ops[:-1], "name its outcome"),
        (whole.ops[1:], "missing input digest"),
        ([*whole.ops[:-1], llb.Op().encode()], "name its outcome"),
    ):
        with pytest.raises(InvalidParameter, match=told):
            graph_of(llb.Definition(ops=ops))


def test_a_changed_byte_is_another_vertex() -> None:
    ops = definition(run(BASE, "echo one")).ops
    ops[1] = ops[1].replace(b"one", b"two")
    with pytest.raises(InvalidParameter, match="missing input digest"):
        graph_of(llb.Definition(ops=ops))


def test_long_chains_and_wide_vertices() -> None:
    ops = [BASE.vertices[0]]
    outcome = BASE
    for number in range(15_000):
        outcome = files([action(0, mkdir=mkdir(f"/{number}"))], Node((ops[-1],)))
        ops.append(outcome.vertices[-1])
    wide = merge(*[BASE] * 1000)
    graph = graph_of(definition(Node(tuple(ops))))
    assert len(graph.vertices) == 15_001
    assert len(graph_of(definition(merge(*[wide] * 1000))).vertices) == 3
    with pytest.raises(InvalidParameter, match="20000 vertices at most"):
        graph_of(llb.Definition(ops=[b""] * 20_001))


VALID = [
    definition(run(BASE, "x", [mount(-1, "/o", 1), mount(1, "/i")], [source("local://x")])),
    definition(files([action(0, -1, 1, copy=copy("/a", "/b")), action(2, mkdir=mkdir("/c"))],
                     BASE, source("https://x/y"))),
    definition(diff(merge(BASE, run(BASE, "y")), BASE)),
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(VALID), st.data())
def test_damaged_graphs_never_do_more_than_fail(valid: llb.Definition, data: st.DataObject) -> None:
    """Vertices with other bytes, under their new digests."""
    ops = list(valid.ops)
    place = data.draw(st.integers(0, len(ops) - 1))
    at = data.draw(st.integers(0, len(ops[place])))
    cut = data.draw(st.integers(0, 3))
    ops[place] = ops[place][:at] + data.draw(st.binary(max_size=6)) + ops[place][at + cut :]
    # what named the vertex by its digest before names it still
    before, after = Node((valid.ops[place],)).digest, Node((ops[place],)).digest
    ops = [op.replace(before.encode(), after.encode()) for op in ops]
    with suppress(InvalidParameter, Unsupported):
        graph_of(llb.Definition(ops=ops))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_no_graph(noise: bytes) -> None:
    with suppress(InvalidParameter):
        graph_of(llb.Definition.decode(noise))
    with suppress(InvalidParameter, Unsupported):
        graph_of(llb.Definition(ops=[noise, noise]))
