"""How the surveys lay out their images, and what the bits of their masks mean."""
