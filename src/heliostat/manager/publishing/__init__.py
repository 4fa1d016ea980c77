"""Publishing beyond data_dir: who may, and to which folders and buckets states are put."""
