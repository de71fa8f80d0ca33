"""The plain stages of the pipeline: each reads its parameters, calls the library and writes its outputs."""
