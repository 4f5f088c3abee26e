"""What comes after scoring: comparing dictionaries and labels, discriminating, repeating, refuting and relabelling."""
