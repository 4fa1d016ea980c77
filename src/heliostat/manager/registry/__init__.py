"""What people declare: mirrors, their endpoints, their files, plans of change, events."""
