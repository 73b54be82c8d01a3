"""Heads: do maps along the positions of a head form one?"""
