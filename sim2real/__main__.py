"""The entry point of ``python -m sim2real``."""

from sim2real.cli import main

if __name__ == "__main__":
    main()
