"""What keeps a run whole: files, exact resume, signals, finite losses. See docs/reliability.md.

`protection` puts these parts into a config, and `protect` does so for a config that names it.
"""
