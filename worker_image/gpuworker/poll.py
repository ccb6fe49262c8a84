"""Starts `gpuworker.entries.poll` under its former name, which images and running machines of that time hold."""

from gpuworker.entries.poll import main

if __name__ == "__main__":
    main()
