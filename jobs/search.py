"""Search for settings on the validation events of a night.

spark-submit jobs/search.py --config conf/ml100k.yaml --search conf/ml100k-search.yaml --date 1998-04-23 --root ROOT
"""

from kdspark.cli import main_job

if __name__ == "__main__":
    main_job("search")
