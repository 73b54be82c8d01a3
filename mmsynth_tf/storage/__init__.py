"""Records, whole files and folders, and locks."""
