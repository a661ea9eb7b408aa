"""Point-spread functions: what they are (`model`), and one small module per file format."""
