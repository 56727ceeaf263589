"""The services behind the subjects, all in this process."""
