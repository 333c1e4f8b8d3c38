"""The engine: what learns. It knows nothing of `mopo_tui`, and importing this package imports neither torch nor gymnasium."""
