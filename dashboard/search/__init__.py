"""The ways of the Search page, one file each: `show(text, dictionaries)` draws what is found."""
