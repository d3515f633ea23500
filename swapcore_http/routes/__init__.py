"""Which paths does the server answer? One module for each kind of them."""
