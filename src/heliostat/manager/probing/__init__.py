"""What probes saw: states, endpoints, scans, holdings; and the runs that find it out."""
