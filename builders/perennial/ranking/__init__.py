"""What tasks share whose answers are among documents: what a label says of some, the index that finds them
and what a head adds to what is looked for, and how well they were found.

numpy and faiss alone, as it runs while serving. Knows no task: one says what it makes a vector of.
"""
