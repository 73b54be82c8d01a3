"""`python -m mmsynth_tf.cli`, which is `mmsynth`."""

from mmsynth_tf.cli.main import main

if __name__ == "__main__":
    main()
