"""What is to be measured, as frozen data: suites, recipes, cells."""
