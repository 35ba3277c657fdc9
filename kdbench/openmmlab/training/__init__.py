"""One training: the model that mmengine trains, its hooks, and what it resumes from."""
