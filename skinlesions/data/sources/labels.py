"""What diagnoses, confirmations and sites are called elsewhere, and which of the project's own names that is."""

import re

# By spelling in lower case, with blanks for all that is neither letter nor digit. Only what no expert would dispute: an
# actinic keratosis and a squamous cell carcinoma by themselves are not here, see data.external.mapping.
CLASS_OF_LABEL = {
    "akiec": "akiec",
    "actinic keratoses": "akiec",
    "actinic keratoses and intraepithelial carcinoma": "akiec",
    "actinic keratoses and intraepithelial carcinomae": "akiec",
    "actinic keratoses and intraepithelial carcinoma bowen s disease": "akiec",
    "bcc": "bcc",
    "basal cell carcinoma": "bcc",
    "bkl": "bkl",
    "benign keratosis": "bkl",
    "benign keratosis like lesions": "bkl",
    "pigmented benign keratosis": "bkl",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichenoid keratosis": "bkl",
    "df": "df",
    "dermatofibroma": "df",
    "mel": "mel",
    "melanoma": "mel",
    "melanoma nos": "mel",
    "melanoma invasive": "mel",
    "melanoma in situ": "mel",
    "nv": "nv",
    "nevus": "nv",
    "naevus": "nv",
    "melanocytic nevi": "nv",
    "melanocytic nevus": "nv",
    "vasc": "vasc",
    "vascular lesion": "vasc",
    "vascular lesions": "vasc",
    "benign soft tissue proliferations vascular": "vasc",
}

# As the ISIC Archive calls what HAM10000 and its test images call akiec (intraepithelial carcinoma among it).
AKIEC_IN_ARCHIVE = {
    "actinic keratosis": "akiec",
    "solar or actinic keratosis": "akiec",
    "squamous cell carcinoma": "akiec",
    "squamous cell carcinoma nos": "akiec",
    "squamous cell carcinoma in situ": "akiec",
}

DX_TYPE_OF_LABEL = {
    "histo": "histo",
    "histopathology": "histo",
    "confocal": "confocal",
    "confocal microscopy with consensus dermoscopy": "confocal",
    "follow up": "follow_up",
    "serial imaging showing no change": "follow_up",
    "consensus": "consensus",
    "single image expert consensus": "consensus",
}


def plain(label: str) -> str:
    """`label` in lower case, with one blank for every run of what is neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", " ", label.lower()).strip()
