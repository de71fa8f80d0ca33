"""Where the images come from: HAM10000 from a folder or from Dataverse, or the synthetic sample."""
