"""What can be tried without a model file? Three small upstreams that only talk about themselves.

`upstream` is the program, `config` the configuration that runs three of it.
"""
