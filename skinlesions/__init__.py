"""Reproducible seven-class skin-lesion classification on HAM10000."""

from skinlesions.core import quiet

quiet.install()
