"""What every request passes through: authentication, limits, parameters, answers, problems."""
