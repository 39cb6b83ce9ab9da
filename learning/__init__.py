"""Outcomes become a data set, the data set a model, and the model a judgement on itself."""
