"""The rules of the conformance kit that build networks and load data: these need torch."""
