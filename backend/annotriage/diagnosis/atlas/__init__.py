"""The atlas, numbers in, numbers out: activations laid out in the plane -> cells, what each of them means to the model, and classes."""
