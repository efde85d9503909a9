"""What record.py is made of: an instance of gunicorn, a proxy and a session."""
