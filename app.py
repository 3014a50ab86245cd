"""Entry for gunicorn: `gunicorn app:app`."""

from keyframe.site import create_app

app = create_app()
