"""Show the messages nobody could work on, send them again, or forget them."""
