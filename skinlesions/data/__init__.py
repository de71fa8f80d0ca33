"""From raw images to folds: what is known of the images before any network sees them. No Keras."""
