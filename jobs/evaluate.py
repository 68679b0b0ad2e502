"""Compare all models on the test events; write the report.

spark-submit jobs/evaluate.py --config conf/ml100k.yaml --date 1998-04-23 --root ROOT
"""

from kdspark.cli import main_job

if __name__ == "__main__":
    main_job("evaluate")
