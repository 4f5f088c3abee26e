"""Pages, one file each: TITLE, ICON, ORDER and `render()`. To add a page, add a file."""
