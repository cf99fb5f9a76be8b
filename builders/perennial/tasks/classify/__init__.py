"""Text classification: one label for a text, with a calibrated score and its runners-up."""
