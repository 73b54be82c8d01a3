"""Experiments on prepared data and trained stages: what is the synthetic data worth (method §8)?

`catalogue` lists them. The module of each has a `run(request)` that returns its tables and leaves records in
`<workdir>/evaluation/<experiment>/`.
"""
