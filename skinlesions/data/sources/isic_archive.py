"""The metadata of the ISIC Archive, as isic-cli saves them, and what they say of HAM10000 and its test images.

The Archive has other words for diagnosis, confirmation and site than HAM10000's own metadata, and other names for its
lesions (IL_... for HAM_...); these correspond one to one.
"""

import re

import pandas as pd

from skinlesions.data.sources.labels import AKIEC_IN_ARCHIVE, CLASS_OF_LABEL, DX_TYPE_OF_LABEL, plain

# A diagnosis in steps from coarse to fine; until 2024 in one column.
STEPS = tuple(f"diagnosis_{step}" for step in range(1, 6))
ONE_STEP = "diagnosis"
# The step that says what HAM10000 says; where it is empty, the one before it does.
DECIDING = ("diagnosis_3", "diagnosis_2", "diagnosis_1", ONE_STEP)

# All that the Archive has beside what is read here.
OTHER_COLUMNS = (
    *("attribution", "copyright_license", "concomitant_biopsy", "image_manipulation", "image_type", "melanocytic"),
    *("patient_id", "benign_malignant", "acquisition_day", "mel_class", "mel_mitotic_index", "mel_thick_mm"),
    *("mel_type", "mel_ulcer", "nevus_type", "dermoscopic_type", "clin_size_long_diam_mm", "fitzpatrick_skin_type"),
    *("family_hx_mm", "personal_hx_mm", "pixels_x", "pixels_y", "rcm_case_id", "tbp_tile_type", "public"),
)
USED_COLUMNS = (
    *("isic_id", "lesion_id", *STEPS, ONE_STEP, "diagnosis_confirm_type", "age_approx", "sex"),
    *("anatom_site_general", "anatom_site_special"),
)

# The numbers of the images of Task 3 of the ISIC 2018 challenge, first and last: HAM10000 and its two test sets.
HAM10000 = "ham10000"
PARTS = {
    HAM10000: (24_306, 34_320),
    "isic2018_validation": (34_321, 34_523),
    "isic2018_test": (34_524, 36_064),
}
PART_NAMES = {
    "isic2018_validation": "the challenge's validation set",
    "isic2018_test": "the challenge's test set",
    "": "no part of Task 3 of the ISIC 2018 challenge",
}
_NUMBER = re.compile(r"ISIC_(\d{7})")

# The Archive's sites as HAM10000 calls them; one that is broader (HAM10000 has abdomen and chest) is kept.
SITES = {
    "posterior torso": "back",
    "oral/genital": "genital",
    "palms/soles": "acral",
    "lower extremity": "lower extremity",
    "upper extremity": "upper extremity",
    "anterior torso": "anterior torso",
    "lateral torso": "lateral torso",
    "head/neck": "head/neck",
    "": "unknown",
}
# Of those, what is "acral NOS" as the special site.
ACRAL_SITES = {"lower extremity": "foot", "upper extremity": "hand"}


def part(image_id: str) -> str:
    """The part of ISIC 2018, Task 3, that the image is of, by its number: a key of PARTS; empty: of none."""
    number = _NUMBER.fullmatch(image_id)
    if number:
        for name, (first, last) in PARTS.items():
            if first <= int(number[1]) <= last:
                return name
    return ""


def is_archive(columns: list[str]) -> bool:
    """Whether a table with these columns is metadata of the Archive."""
    return "isic_id" in columns and any(name in columns for name in (*STEPS, ONE_STEP))


def labels(content: pd.DataFrame) -> pd.Series:
    """The diagnosis in every row in the Archive's words: of DECIDING the first that is not empty."""
    result = pd.Series("", index=content.index)
    for column in DECIDING:
        if column in content.columns:
            result = result.where(result != "", content[column])
    return result


def classes(content: pd.DataFrame) -> pd.Series:
    """The class of every row of HAM10000 or of its test images; what is none of the seven stays as it is."""
    known = CLASS_OF_LABEL | AKIEC_IN_ARCHIVE
    return labels(content).map(lambda label: known.get(plain(label), label))


def as_ham10000(content: pd.DataFrame) -> pd.DataFrame:
    """HAM10000's columns, as text, from the Archive's; values that have no counterpart stay as they are."""

    def column(name: str) -> pd.Series:
        return content[name] if name in content.columns else pd.Series("", index=content.index)

    general, special = column("anatom_site_general"), column("anatom_site_special")
    sites = [
        ACRAL_SITES.get(where, SITES.get(where, where)) if detail == "acral NOS" else SITES.get(where, where)
        for where, detail in zip(general, special, strict=True)
    ]
    return pd.DataFrame(
        {
            "lesion_id": column("lesion_id"),
            "image_id": content["isic_id"],
            "dx": classes(content),
            "dx_type": column("diagnosis_confirm_type").map(lambda label: DX_TYPE_OF_LABEL.get(plain(label), label)),
            "age": column("age_approx"),
            "sex": column("sex"),
            "localization": sites,
        },
        index=content.index,
    )
