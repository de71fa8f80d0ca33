"""The networks: backbones by name, the baseline CNN, and the heads. Only Keras; any of its backends."""
