"""Parsed image configurations, remembered: a blob never changes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ketch.errors import DataCorrupt, NotFound
from ketch.oci import image as images
from ketch.oci.image import ImageConfig

if TYPE_CHECKING:
    from ketch.content.store import ContentStore

_REMEMBERED = 256


class Configs:
    """Configurations by image ID."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._parsed: OrderedDict[str, ImageConfig] = OrderedDict()

    def blob(self, image_id: str) -> bytes:
        """The bytes; raises ``DataCorrupt`` when they are gone or damaged."""
        try:
            return self._content.read(image_id)
        except NotFound:
            raise DataCorrupt(
                f"the configuration of image {image_id} is gone from the content store:"
                " remove the image and pull it again"
            ) from None

    def get(self, image_id: str) -> ImageConfig:
        """The parsed configuration."""
        config = self._parsed.get(image_id)
        if config is None:
            config = self._parsed[image_id] = images.decode(self.blob(image_id))
            if len(self._parsed) > _REMEMBERED:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(image_id)
        return config
