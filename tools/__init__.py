"""Proofs that take too long for the tests; run them as modules from the repository's root."""
