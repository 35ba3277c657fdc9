"""How runs are placed: what is to be run, and running it in this process."""
