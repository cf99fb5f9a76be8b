"""Engines: runtimes that a network is compiled for. One runtime a file."""
