"""What every layer stands on: paths, errors, files, progress, the settings and the classes."""
