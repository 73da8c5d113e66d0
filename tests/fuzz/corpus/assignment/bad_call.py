SIG = os.environ["X"]
