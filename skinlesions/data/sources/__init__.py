"""Where the images come from: HAM10000 from a folder or from Dataverse, the synthetic sample, an external test set."""
