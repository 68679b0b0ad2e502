"""`kdspark doctor` under spark-submit: looks at the cluster, with the settings and environment that nights will have.

spark-submit jobs/doctor.py --config conf/ml100k.yaml --root ROOT
"""

from kdspark.cli import main_job

if __name__ == "__main__":
    main_job("doctor")
