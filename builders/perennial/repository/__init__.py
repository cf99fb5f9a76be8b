"""What a model repository looks like on disk: names, folders, manifests and Triton's model configs."""
