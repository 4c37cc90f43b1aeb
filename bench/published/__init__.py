"""Results that others have published, with their source and as much of their protocol as it says."""
