"""The checks: each is a function that takes the exam of a method and raises if the promise is broken."""
