"""What each validation finds, in files of the work dir, for the pages of `report`."""
