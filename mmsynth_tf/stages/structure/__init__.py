"""The structure stage: a GAN of structure maps (method §3)."""
