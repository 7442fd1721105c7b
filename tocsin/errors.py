"""What goes wrong at the front door and what the user can do about it."""


class UserError(Exception):
    """Something that the user can put right. The text is complete; a command shows it and exits with 2."""
