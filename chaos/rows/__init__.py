"""The rows of the matrix, one module per theme."""
