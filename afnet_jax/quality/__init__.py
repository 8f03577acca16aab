"""How good maps are: held to known surfaces, to the same head scanned again, and to the others of their data set."""
