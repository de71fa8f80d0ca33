"""Reproducible seven-class skin-lesion classification on HAM10000."""
