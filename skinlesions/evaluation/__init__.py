"""Statistics of predictions. NumPy, SciPy and pandas; never Keras."""
