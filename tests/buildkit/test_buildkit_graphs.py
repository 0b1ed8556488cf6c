"""Build graphs that are files of a repository or a URL, and results of other builds."""

from __future__ import annotations

from typing import Any

import pytest

from ketch.build.request.options import BuildOptions, ImageInput
from ketch.buildkit.frontend.inputs import with_inputs
from ketch.buildkit.graphs.files import Files, digest_of, fetched_files
from ketch.buildkit.graphs.result_graphs import definition_of
from ketch.errors import InvalidParameter
from ketch.llb.messages import (
    Definition,
    FileAction,
    FileActionCopy,
    FileOp,
    Input,
    Op,
    SourceOp,
)

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
    assert fetched_files(definition) == found


@pytest.mark.parametrize(
    "definition",
    [
        graph(Op(source=SourceOp(identifier="docker-image://busybox"))),
        graph(Op(source=GIT), copy("/sub"), copy("/x", dirCopyContents=True)),
        graph(Op(source=HTTP), copy("/x", dirCopyContents=True)),
        graph(Op(source=HTTP), *[copy("/x", attemptUnpackDockerCompatibility=True)] * 2),
        graph(Op(source=GIT), Op(file=FileOp(actions=[FileAction()]))),
        graph(Op(source=GIT), *[copy("/", dirCopyContents=True)] * 100),
    ],
)
def test_other_graphs_are_run_instead(definition: Definition) -> None:
    assert fetched_files(definition) is None


async def test_results_as_inputs() -> None:
    held: Any = None  # nothing is run for them
    image = ImageInput(b'{"os":"linux"}', ("sha256:" + "0" * 64,))
    inputs = {"0-base": definition_of(image), "1-files": graph(Op(source=GIT))}
    contexts = {"base": "input:0-base", "files": "input:1-files", "other": "local:x"}
    options = await with_inputs(BuildOptions(contexts=contexts), inputs, held)
    assert options.inputs == {"0-base": image}
    assert options.contexts == {**contexts, "files": "https://host/a.git#main"}
    with pytest.raises(InvalidParameter, match="no input '0-base'"):
        await with_inputs(BuildOptions(contexts=contexts), {}, held)
    for config, layer in ((b"[]", "sha256:" + "0" * 64), (b"{}", "../../etc")):
        hostile = {"0-base": definition_of(ImageInput(config, (layer,)))}
        options = BuildOptions(contexts={"base": "input:0-base"})
        with pytest.raises(InvalidParameter, match="no result of a build"):
            await with_inputs(options, hostile, held)
