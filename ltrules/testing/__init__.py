"""Run the tests of rule files, judge and show the results."""
