"""Experiments on prepared data and trained stages, which measure the quality of synthetic data (method §8).

`catalogue` lists them. Each module has a function `run(request)` that returns tables and writes records to
`<workdir>/evaluation/<experiment>/`.
"""
