"""Write the teacher's answers for every training position.

spark-submit jobs/soft_labels.py --config conf/ml100k.yaml --date 1998-04-23 --root ROOT
"""

from kdspark.cli import main_job

if __name__ == "__main__":
    main_job("soft-labels")
