"""What every kind has that takes its jobs from a bucket: uploads -> event queue -> dispatch, and the guard beside it.

`parts` holds what all refer to, `statements` what the roles of several parts may do alike, `functions` dispatch and
guard with what calls them. A kind adds to each what is its own.
"""
