"""What every request passes through: authentication, rate limits, parameters, bodies, answers and problems."""
