"""The console commands: each module's `main` reads its arguments, calls one function and prints what came of it."""
