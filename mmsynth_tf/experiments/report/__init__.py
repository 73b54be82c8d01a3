"""One page on all experiments of a work directory."""
