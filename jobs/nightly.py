"""The whole night under spark-submit: every stage in order, then publish.

spark-submit jobs/nightly.py --config conf/ml100k.yaml --date 1998-04-23 --root ROOT
"""

from kdspark.cli import main_job

if __name__ == "__main__":
    main_job("run")
