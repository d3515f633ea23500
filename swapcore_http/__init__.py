"""The aiohttp adapter of swapcore: real subprocesses, sockets and clocks.

`swapcore-http serve --config config.yaml` is its command line. Other servers
embed `swapcore_http.driver.Driver`, with `swapcore_http.launcher` for
subprocesses or a launcher of their own.
"""
