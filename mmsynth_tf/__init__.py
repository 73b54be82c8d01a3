"""Synthesis of registered multimodal MRI with lesion labels, in TensorFlow.

Importing the package is cheap: TensorFlow is loaded by the modules that need it.
"""

__version__ = "0.2.0.dev0"
