"""Inside the model, numbers in, numbers out: samples of the items worth looking at, and the queries that they answer."""
