"""Token classification: spans of a text, each with its label and score."""
