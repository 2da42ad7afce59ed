"""Looking into the model: a dataset as its layers see it, samples of it, answers about it, its atlas."""
