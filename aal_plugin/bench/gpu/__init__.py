"""What only a GPU can show, in parts that `tools/gpu.py` runs one by one."""
