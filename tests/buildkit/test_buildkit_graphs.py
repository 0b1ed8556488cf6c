"""Build graphs of a client's own: what is taken of them, and what is refused by name."""

from __future__ import annotations

import pytest

from ketch.build.request.options import BuildOptions, ImageInput
from ketch.buildkit.graph_messages import (
    Definition,
    FileAction,
    FileActionCopy,
    FileOp,
    Input,
    Op,
    SourceOp,
)
from ketch.buildkit.graphs import Files, digest_of, files_of
from ketch.buildkit.inputs import definition_of, with_inputs
from ketch.errors import InvalidParameter, KetchError, Unsupported

GIT = SourceOp(identifier="git://host/a.git#main", attrs={"git.fullurl": "https://host/a.git"})
HTTP = SourceOp(identifier="https://host/a.tar", attrs={"http.filename": "context"})


def graph(*vertices: Op) -> Definition:
    """Each vertex has the one before as its input; the last one names the outcome."""
    ops: list[bytes] = []
    for vertex in (*vertices, Op()):
        vertex.inputs = [Input(digest=digest_of(ops[-1]))] if ops else []
        ops.append(vertex.encode())
    return Definition(ops=ops)


def copy(src: str, **more: object) -> Op:
    action = FileActionCopy(src=src, dest="/", **more)
    return Op(file=FileOp(actions=[FileAction(input=-1, copy=action)]))


@pytest.mark.parametrize(
    ("definition", "found"),
    [
        (graph(Op(source=GIT)), Files(url="https://host/a.git#main")),
        (
            graph(Op(source=GIT), copy("/sub", dirCopyContents=True)),
            Files(url="https://host/a.git#main:sub"),
        ),
        (
            graph(Op(source=GIT), *[copy("/../x", dirCopyContents=True)] * 2),
            Files(url="https://host/a.git#main:x/x"),
        ),
        (
            graph(Op(source=GIT), copy("/a/sub")),
            Files(url="https://host/a.git#main:a/sub", keeps_name=True),
        ),
        (graph(Op(source=HTTP)), Files(url="https://host/a.tar", name="context")),
        (
            graph(Op(source=HTTP), copy("/context", attemptUnpackDockerCompatibility=True)),
            Files(url="https://host/a.tar"),
        ),
    ],
)
def test_files_that_are_fetched(definition: Definition, found: Files) -> None:
    assert files_of(definition) == found


@pytest.mark.parametrize(
    "definition",
    [
        Definition(),
        Definition(ops=[b"\xff"]),
        Definition(ops=[Op(inputs=[Input(digest="sha256:0")]).encode()]),
        graph(Op()),
        graph(Op(source=SourceOp(identifier="docker-image://busybox"))),
        graph(Op(source=GIT), copy("/sub"), copy("/x", dirCopyContents=True)),
        graph(Op(source=HTTP), copy("/x", dirCopyContents=True)),
        graph(Op(source=HTTP), *[copy("/x", attemptUnpackDockerCompatibility=True)] * 2),
        graph(Op(source=GIT), Op(file=FileOp(actions=[FileAction()]))),
        graph(Op(source=GIT), *[copy("/", dirCopyContents=True)] * 100),
    ],
)
def test_other_graphs_are_refused(definition: Definition) -> None:
    with pytest.raises(KetchError) as caught:
        files_of(definition)
    assert isinstance(caught.value, InvalidParameter | Unsupported)


def test_results_as_inputs() -> None:
    image = ImageInput(b'{"os":"linux"}', ("sha256:" + "0" * 64,))
    inputs = {"0-base": definition_of(image), "1-files": graph(Op(source=GIT))}
    contexts = {"base": "input:0-base", "files": "input:1-files", "other": "local:x"}
    options = with_inputs(BuildOptions(contexts=contexts), inputs)
    assert options.inputs == {"0-base": image}
    assert options.contexts == {**contexts, "files": "https://host/a.git#main"}
    with pytest.raises(InvalidParameter, match="no input '0-base'"):
        with_inputs(BuildOptions(contexts=contexts), {})
    for config, layer in ((b"[]", "sha256:" + "0" * 64), (b"{}", "../../etc")):
        hostile = {"0-base": definition_of(ImageInput(config, (layer,)))}
        with pytest.raises(InvalidParameter, match="no result of a build"):
            with_inputs(BuildOptions(contexts={"base": "input:0-base"}), hostile)
