"""Proofs that a killed, full or shared run loses nothing."""
