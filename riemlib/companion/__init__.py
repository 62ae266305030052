"""What makes riemlib a companion of the paper: claims and verdicts, studies over many seeds, figures, and the run of all notebooks."""
