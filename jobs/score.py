"""Write the top-k list of every user, not yet visible.

spark-submit jobs/score.py --config conf/ml100k.yaml --date 1998-04-23 --root ROOT
"""

from kdspark.cli import main_job

if __name__ == "__main__":
    main_job("score")
