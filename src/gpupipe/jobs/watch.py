"""How a job is: one look at it, and looks until it is over. (Being written by the lead, with choose.py.)"""
