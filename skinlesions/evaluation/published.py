"""What the work that this project re-implements claims, and what its own outputs say.

Kollipara & Kollipara, "Residual Learning Based Approach for Multi-class Classification of Skin Lesion Using Deep
Convolutional Neural Network", ICCR 2021, doi:10.1007/978-3-031-22405-8_27, with its public notebooks. The claims are
the paper's; balanced accuracy and melanoma recall were computed from the confusion matrices stored in its notebooks.
"""

from dataclasses import dataclass

VALIDATION_IMAGES = 1499
# Validation images that show a lesion of which another image is in training.
SHARED_IMAGES = 475

PROTOCOL = (
    f"Original: split by image, so that {SHARED_IMAGES} of {VALIDATION_IMAGES:,} validation images "
    f"({100 * SHARED_IMAGES / VALIDATION_IMAGES:.1f} %) show a lesion that is also in training; checkpoint and "
    "learning rate chosen on these images, which are then reported as the test; they are randomly augmented; one split."
)
OURS = "Ours: every image scored once, by a model that saw no image of its lesion and was chosen on another fold."


@dataclass(frozen=True)
class Claim:
    """One model of the original, figures as fractions of 1."""

    model: str  # the name that this project gives to the same architecture
    title: str
    accuracy: float
    weighted_f1: float
    balanced_accuracy: float
    melanoma_recall: float
    note: str = ""

    @property
    def differs(self) -> str:
        """What differs between its protocol and this project's."""
        return " ".join(part for part in (PROTOCOL, self.note, OURS) if part)


CLAIMS = (
    Claim("baseline_cnn", "Baseline CNN", 0.71, 0.71, 0.517, 0.47),
    Claim("vgg16", "VGG16", 0.79, 0.78, 0.581, 0.51),
    Claim(
        "densenet121",
        "DenseNet121",
        0.81,
        0.81,
        0.812,
        0.64,
        "Scored on another, already augmented set, oversampled before it was split.",
    ),
    Claim("efficientnet_b4", "EfficientNetB4", 0.87, 0.86, 0.835, 0.57),
    Claim("resnet50", "ResNet50", 0.87, 0.87, 0.831, 0.73),
    Claim(
        "inception_resnet_v2",
        "InceptionResNetV2",
        0.90,
        0.89,
        0.818,
        0.64,
        "The paper describes a shortened network; its code is the stock one.",
    ),
)
