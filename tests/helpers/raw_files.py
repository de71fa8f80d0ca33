"""Small folders of HAM10000-like files, in every layout, for the tests of what reads them."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HEADER = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]

# Two lesions with one image, one with two; a missing age, unknown sex and place.
ROWS = [
    ["HAM_2", "ISIC_3", "nv", "follow_up", "", "unknown", "unknown"],
    ["HAM_1", "ISIC_1", "mel", "histo", "80.0", "male", "scalp"],
    ["HAM_1", "ISIC_2", "mel", "histo", "80.0", "male", "scalp"],
    ["HAM_3", "ISIC_4", "df", "consensus", "42.5", "female", "lower extremity"],
]


def jpeg(seed: int, width: int = 96, height: int = 72) -> bytes:
    """The bytes of a noisy JPEG image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


IMAGES = {f"ISIC_{number}": jpeg(number) for number in range(1, 5)}


def table(rows: list[list[str]] = ROWS, header: list[str] = HEADER, separator: str = ",", quote: str = "") -> str:
    """The text of a metadata file."""
    lines = [separator.join(header)]
    lines += [separator.join(f"{quote}{value}{quote}" for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    """A zip file with `members`, by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    """A folder with files, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def parts() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """File name → bytes of the images of part 1 and of part 2."""
    named = [(f"{image_id}.jpg", content) for image_id, content in IMAGES.items()]
    return dict(named[:2]), dict(named[2:])


def dataverse_folder(folder: Path) -> Path:
    """The files as Harvard Dataverse has them, and two that are not ours to read."""
    first, second = parts()
    write_zip(folder / "HAM10000_images_part_1.zip", first)
    write_zip(folder / "HAM10000_images_part_2.zip", second)
    write_zip(folder / "ISIC2018_Task3_Validation_Input.zip", {"ISIC_9.jpg": jpeg(9)})
    (folder / "HAM10000_metadata.csv").write_text(table())
    (folder / "ISIC2018_Task3_Validation_GroundTruth.csv").write_text("image,MEL\nISIC_9,1\n")
    return folder
