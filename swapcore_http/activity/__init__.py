"""What was asked of which model, how long did it take, and what did it cost in tokens?

Each request is followed by a `Recording`, which keeps the ends of its answer.
Once the answer is on its way, one thread reads what these say, and keeps it.
"""
