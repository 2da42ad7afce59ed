"""What is read of projects and datasets, for API, pages and commands alike."""
