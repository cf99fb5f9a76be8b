"""The recipes: ways to make a smaller student of a served network."""
