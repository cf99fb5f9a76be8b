"""Learners: what a release is trained on, and what is added to its loss. One strategy a file."""
