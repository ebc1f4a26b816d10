"""What the judge and a candidate's process share, and how calls lie in it."""
