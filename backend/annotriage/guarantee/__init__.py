"""What may be said of scores and answers, in figures: p-values, the gate, diversity, spot checks. Numbers in, numbers out."""
