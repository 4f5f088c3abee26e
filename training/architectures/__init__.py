"""Dictionary architectures, one file each."""
