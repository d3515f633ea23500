"""What a server's processes owe to its life: nothing that it starts outlives it, however it dies.

Each life of a server has a random id. What it starts carries that id in its
environment, so that it is found even when it has left its process group. A
watchdog, a small process of its own, learns of each run through a pipe; when
the pipe closes the server is gone, and the watchdog ends what is left. A file
per life, locked as long as server or watchdog live, is for the case that both
have died: the next server finds it and sweeps up.

`table`, `registry`, `leftovers` and `watchdog` import nothing but the standard
library, since the watchdog is to be small.
"""
