"""What can be known of methods whose truth is known, one file a subject: NAME, ORDER and `render()`."""
