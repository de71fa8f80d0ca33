"""How fast and how large the pipeline is, each time against a reference measured in the same run."""
