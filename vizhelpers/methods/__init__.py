"""The methods: one file for each topic of the lessons."""
