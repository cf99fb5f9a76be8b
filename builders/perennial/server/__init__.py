"""The embedded tritonserver: find it, start it, watch it, control it, stop it."""
