"""The items that a user may want next."""
