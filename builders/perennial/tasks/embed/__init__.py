"""A text as a vector, and the documents that are nearest to it."""
