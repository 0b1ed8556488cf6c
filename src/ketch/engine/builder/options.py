"""Options of a build before it begins: what is refused, one set for each platform, arguments."""

from __future__ import annotations

import msgspec

from ketch.build.request.epoch import epoch_of
from ketch.build.request.exports import DOCKER, Export
from ketch.build.request.options import BuildOptions
from ketch.build.request.refusals import check_options
from ketch.errors import InvalidParameter, Unsupported
from ketch.oci import platform as platforms
from ketch.oci import reference as references


def check(options: BuildOptions) -> None:
    """All that can be refused before the context is read."""
    check_options(options)
    for tag in options.tags:
        if references.parse(tag).digest:
            raise InvalidParameter(f"invalid tag {tag!r}: a digest can't be given to an image")
    for export in options.exports:
        _check_export(export, options)
    epoch = epoch_of(options.build_args)
    if options.verify and epoch is None:
        raise InvalidParameter(
            "verify needs the build argument SOURCE_DATE_EPOCH: without it every build has a time"
            " of its own (for example the time of the last commit: git log -1 --format=%ct)"
        )
    if epoch is not None and any(export.rewrite is False for export in options.exports):
        raise Unsupported(
            "rewrite-timestamp=false is not supported with SOURCE_DATE_EPOCH: files of new layers "
            "are never younger, leave one of the two out"
        )
    each_platform(options)
    if options.network_mode.startswith("container:"):
        raise Unsupported(f"networkmode={options.network_mode!r} is not supported for builds")


def _check_export(export: Export, options: BuildOptions) -> None:
    """What would fail at the end, after all the work."""
    for name in export.names:
        references.parse(name)
    if export.push and not (export.names or options.tags):
        raise InvalidParameter("tag is needed when pushing to registry: give the image a name")
    if export.dangling:
        prefix = references.parse(export.dangling)
        if prefix.tag or prefix.digest:
            raise InvalidParameter(
                f"invalid dangling-name-prefix {export.dangling!r}: it is a name without a tag"
            )
    told = options.attestations.provenance
    attested = options.attestations.sbom or (told is not None and not told.inline_only)
    if export.type == DOCKER and (attested or len(each_platform(options)) > 1):
        raise InvalidParameter(
            "the docker output holds one image: several platforms and attestations need type=oci"
            " or type=image"
        )


def each_platform(options: BuildOptions) -> list[BuildOptions]:
    """The options for each of several platforms; raises ``InvalidParameter``."""
    if options.verify:
        options = msgspec.structs.replace(options, no_cache=True)
    texts = [word.strip() for word in options.platform.split(",") if word.strip()]
    if len(texts) < 2:
        if texts:
            platforms.parse(texts[0])
        return [options]
    names = list(dict.fromkeys(str(platforms.parse(text)) for text in texts))
    return [msgspec.structs.replace(options, platform=name) for name in names]


def platform_arguments(options: BuildOptions) -> dict[str, str]:
    """The arguments that every Dockerfile may declare."""
    build = platforms.host()
    target = platforms.parse(options.platform) if options.platform else build
    return {
        f"{kind}{part}": value
        for kind, one in (("BUILD", build), ("TARGET", target))
        for part, value in (
            ("PLATFORM", str(one)),
            ("OS", one.os),
            ("ARCH", one.architecture),
            ("VARIANT", one.variant),
        )
    }
