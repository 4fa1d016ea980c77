"""The Django project that knows the mirrors, and the code that ties the rooms together."""
