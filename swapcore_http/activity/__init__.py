"""What was asked of which model, how long did it take, and what did it cost in tokens?

Each request is followed by a `Recording`, which keeps the ends of its answer.
Once the answer is on its way, what these say is read, by the event loop if it
is short and by a thread if not; the thread keeps it.
"""
