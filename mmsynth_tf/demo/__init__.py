"""The demonstration on the phantom."""
