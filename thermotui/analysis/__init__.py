"""What a run log says, free of any screen: state, balance, alerts, snapshots. Serves screen and scripts alike."""
