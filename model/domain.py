"""Recognise inputs that are far from everything the model was trained on.

References
----------
Lee, Lee, Lee and Shin (2018), A Simple Unified Framework for Detecting Out-of-Distribution Samples, NeurIPS
(Mahalanobis distance); Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

# Share of the training table that may be called foreign.
TRAINING_PASS_RATE = 0.99


class TrainingDomain:
    """Where the training inputs lie: their centre, their covariance, and how far out they reach.

    Attributes
    ----------
    centre_ : np.ndarray, shape (n_inputs,)
    precision_ : np.ndarray, shape (n_inputs, n_inputs)
    radius_ : float
        Distance within which ``TRAINING_PASS_RATE`` of the training rows lie.
    """

    def fit(self, Z: NDArray[np.float64]) -> "TrainingDomain":
        """Learn the domain from scaled inputs.

        Parameters
        ----------
        Z : np.ndarray, shape (n, n_inputs), float64
        """
        covariance = LedoitWolf().fit(Z)
        self.centre_: NDArray[np.float64] = covariance.location_
        self.precision_: NDArray[np.float64] = covariance.precision_
        self.radius_ = 1.0
        self.radius_ = float(np.quantile(self.distance(Z), TRAINING_PASS_RATE))
        return self

    def distance(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Measure how far inputs lie from the training data.

        Parameters
        ----------
        Z : np.ndarray, shape (n, n_inputs), float64

        Returns
        -------
        np.ndarray, shape (n,), float64
            Mahalanobis distance in units of ``radius_``: up to 1 is inside.
        """
        offset = Z - self.centre_
        squared = np.einsum("ij,jk,ik->i", offset, self.precision_, offset)
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)) / self.radius_)
