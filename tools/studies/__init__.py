"""Studies that are too long for a test, and the tables that documents show."""
