"""What a training set is worth to one segmenter of all modalities, every patient tested once."""
