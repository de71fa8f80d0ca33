"""What features come from: a network, or files that were computed elsewhere."""

from pathlib import Path
from typing import Annotated

from pydantic import Discriminator, Field, StringConstraints, Tag, field_serializer

from skinlesions.core.blocks import Backbone, Block


class Embedding(Block):
    """Features of all images that were computed elsewhere, in place of those of a network.

    Attributes:
        features: a .npy file of floats [N, D], from the folder of the project or as an absolute path.
        ids: a CSV file whose column image_id names the image of every row.
        sha256: what the first must hash to; None: any.
        origin: what made them, for the report.
    """

    features: str = Field(min_length=1)
    ids: str = Field(min_length=1)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    origin: str | None = Field(default=None, min_length=1, max_length=200)

    @field_serializer("features", "ids", when_used="json")
    def _without_folders(self, file: str) -> str:
        """What is published: the name of the file, and not where it is on this machine."""
        return Path(file).name


def _kind_of_backbone(value: object) -> str:
    """Which of the two a block of `backbones` is."""
    given = "features" in value if isinstance(value, dict) else isinstance(value, Embedding)
    return "[embedding]" if given else "[network]"


# What features come from. The tags have the form of pydantic's own alternatives, so that messages leave them out.
AnyBackbone = Annotated[
    Annotated[Backbone, Tag("[network]")] | Annotated[Embedding, Tag("[embedding]")], Discriminator(_kind_of_backbone)
]
