"""What a run leaves and how it ends: directory, files, tracker, resume, signals. Imports no torch at the top."""
