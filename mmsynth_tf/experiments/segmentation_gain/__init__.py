"""Effect of the training set on a joint segmenter of all modalities, by cross-validation over patients."""
