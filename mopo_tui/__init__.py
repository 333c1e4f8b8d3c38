"""What people touch: the command line `mopo`, the app `mopo-tui`, and the manager both stand on."""
