"""The screen (Textual): app, screens, widgets and one poller."""
