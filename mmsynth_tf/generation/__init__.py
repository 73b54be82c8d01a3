"""Makes synthetic samples from trained stages, and describes them (method §4, §7)."""
