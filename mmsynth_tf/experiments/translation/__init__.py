"""Quality of translation between modalities."""
