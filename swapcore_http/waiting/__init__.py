"""What do callers learn while they wait for their model?"""
