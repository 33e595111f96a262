"""One session of a search: admission, the stages in their order, the driver, what is delivered at the end."""
