"""Large images, which are looked at by windows."""
