"""A run's folder: layout, lock, and the writer and reader of every file in it. Training writes, analysis reads."""
