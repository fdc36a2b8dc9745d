"""The classifier, teachers, backbones and heads that MMPretrain configs name."""
