"""What Perennial runs on: types, seams, and one folder a family of strategies."""
