"""What a run leaves behind: the columns, the folder, the tables made from it, and how they are shown."""
