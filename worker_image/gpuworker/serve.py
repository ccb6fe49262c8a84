"""Starts `gpuworker.entries.serve` under its former name, which images and running machines of that time hold."""

from gpuworker.entries.serve import main

if __name__ == "__main__":
    main()
