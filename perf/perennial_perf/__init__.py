"""Load, benches and reports."""
