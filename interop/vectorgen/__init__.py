"""The inputs of the test vectors. What they mean is gunicorn's to say: see vectors.py."""
