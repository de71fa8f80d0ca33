"""What a user types: each module is a subcommand."""
