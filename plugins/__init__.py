"""The built-in plugins, found the way anyone's are."""
