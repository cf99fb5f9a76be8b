"""A text that goes on: what a language model answers to a conversation, piece by piece."""
