"""The method's algorithms, networks, losses and training stages (method §2, §3, §5, §6)."""
