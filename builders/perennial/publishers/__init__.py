"""How a release comes to where a server finds it: one way a module."""
