"""Which job a person means. (Being written by the lead, with watch.py.)"""
