"""Studies: many runs for one question, their stored results, and the pages made from them."""
