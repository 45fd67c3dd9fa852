"""Where labelled images lie: with scikit-learn, in folders, in parquet files, in lists, on the hub."""
