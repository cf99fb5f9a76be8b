"""Jobs: rebuilds, the worker that runs them, and the watch. Each page reads as its process."""
