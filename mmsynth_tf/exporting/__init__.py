"""SavedModels: signatures, metadata, loading."""
