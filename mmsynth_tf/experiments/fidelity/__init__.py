"""How close synthetic slices are to real ones."""
