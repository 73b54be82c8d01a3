"""Networks, layers and losses, and the base class of the training stages (method §3, §6, §8)."""
