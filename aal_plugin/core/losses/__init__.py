"""The losses, as pure functions: links, distillation, attention transfer; and λ."""
