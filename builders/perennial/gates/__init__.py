"""Gates: what a candidate must show before it serves. One question a file."""
