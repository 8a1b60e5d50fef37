"""What a layer holds: its channels, features and their arrangement."""
