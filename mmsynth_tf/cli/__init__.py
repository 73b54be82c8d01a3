"""The program `mmsynth`: one job for each thing that is done with patients and samples."""
