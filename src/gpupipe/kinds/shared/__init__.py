"""What several kinds are made of: the functions' code, and `intake`, which takes jobs from a bucket."""
