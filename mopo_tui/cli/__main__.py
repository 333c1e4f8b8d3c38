"""`python -m mopo_tui.cli`: the same as `mopo`."""

from mopo_tui.cli import main

if __name__ == "__main__":
    main()
