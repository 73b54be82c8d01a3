"""Measurements that anyone can repeat; each is a ratio of two times within one run."""
