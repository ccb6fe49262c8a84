"""Pipeline kinds, one a file: the kind's settings, and the resources that they describe."""
