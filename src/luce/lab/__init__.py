"""The experiments of the papers, each a small file: a world, a method, a figure, a table."""
