"""Who is told at once of what happens, and what?"""
