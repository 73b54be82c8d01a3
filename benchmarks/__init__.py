"""How fast it is (`make bench`). Every figure is a ratio within one run, or stands beside what it was compared with."""
