"""What the trainers of all backends share: data and their selection, run directories, a resumable loop, options."""
