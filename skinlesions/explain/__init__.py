"""Where the networks look, and whether that means anything."""
