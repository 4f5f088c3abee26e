"""Where curves go besides the workspace, one file each."""
