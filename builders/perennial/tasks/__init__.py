"""Tasks: the kinds of work a service can do. A folder a task: a codec for serving, a torch half for jobs."""
