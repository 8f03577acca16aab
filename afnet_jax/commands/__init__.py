"""The bodies of the console commands: each module's `main` reads its arguments, calls one function and tells."""
