"""How well modalities are translated into each other."""
