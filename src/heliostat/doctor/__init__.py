"""`heliostat doctor`: everything a volunteer would look at on a node, looked at side by side."""
