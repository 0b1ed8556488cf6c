"""Values of the image routes' query parameters that are written as JSON."""

from __future__ import annotations

import msgspec

from ketch.api.schema import Body, Names


class Platform(Body):
    """``platform``: a platform object of the OCI image index specification."""

    architecture: str | None = None
    os: str | None = None
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)
    os_features: Names = msgspec.field(name="os.features", default=None)
