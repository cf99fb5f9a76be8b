"""Samples: default services that packages carry the model and the data of. One service a file."""
