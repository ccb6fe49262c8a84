"""(Being written by the lead, who also wrote watch.py and choose.py.)"""
