"""Matching kernels: what they are (`model`), and one small module per file format."""
