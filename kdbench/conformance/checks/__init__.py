"""The checks, one a function: each takes the exam of a method and raises where the promise is not kept."""
