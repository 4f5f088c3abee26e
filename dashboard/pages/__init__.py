"""Pages, one file each: TITLE, ICON, GROUP (of the menu; "" stands alone), ORDER and `render()`. To add one, add a file.

A page that shows one thing has `examples(workspace)` too: queries of addresses worth a picture, by name.
"""
