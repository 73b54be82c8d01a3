"""Test for copies of training slices among synthetic slices."""
