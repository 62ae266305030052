"""The works that the notebooks refer to: the one bibliography. `references` shows some of them at the end of a notebook."""

from dataclasses import dataclass
from html import escape

from IPython.display import HTML


@dataclass(frozen=True)
class Work:
    """Authors, year, title, and where it appeared."""

    authors: str
    year: int
    title: str
    venue: str

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}). {self.title}. {self.venue}."


WORKS = {
    "hauser_ray": Work(
        "M. Hauser and A. Ray",
        2017,
        "Principles of Riemannian geometry in neural networks",
        "Advances in Neural Information Processing Systems 30, 2807–2816",
    ),
    "benfenati_marta": Work(
        "A. Benfenati and A. Marta",
        2023,
        "A singular Riemannian geometry approach to deep neural networks I: theoretical foundations",
        "Neural Networks 158, 331–343",
    ),
    "chen": Work(
        "R. T. Q. Chen, Y. Rubanova, J. Bettencourt and D. Duvenaud",
        2018,
        "Neural ordinary differential equations",
        "Advances in Neural Information Processing Systems 31",
    ),
    "cohen": Work(
        "A.-S. Cohen, R. Cont, A. Rossier and R. Xu",
        2021,
        "Scaling properties of deep residual networks",
        "Proceedings of the 38th International Conference on Machine Learning",
    ),
    "fiedler_ptak": Work(
        "M. Fiedler and V. Pták",
        1962,
        "On matrices with non-positive off-diagonal elements and positive principal minors",
        "Czechoslovak Mathematical Journal 12, 382–400",
    ),
    "glorot_bengio": Work(
        "X. Glorot and Y. Bengio",
        2010,
        "Understanding the difficulty of training deep feedforward neural networks",
        "Proceedings of the 13th International Conference on Artificial Intelligence and Statistics, 249–256",
    ),
    "he": Work(
        "K. He, X. Zhang, S. Ren and J. Sun",
        2016,
        "Deep residual learning for image recognition",
        "IEEE Conference on Computer Vision and Pattern Recognition, 770–778",
    ),
    "hodges_lehmann": Work(
        "J. L. Hodges and E. L. Lehmann",
        1963,
        "Estimates of location based on rank tests",
        "Annals of Mathematical Statistics 34, 598–611",
    ),
    "kingma_ba": Work(
        "D. P. Kingma and J. Ba", 2015, "Adam: a method for stochastic optimization", "International Conference on Learning Representations"
    ),
    "marion": Work(
        "P. Marion, A. Fermanian, G. Biau and J.-P. Vert",
        2025,
        "Scaling ResNets in the large-depth regime",
        "Journal of Machine Learning Research 26, 1–48",
    ),
    "newcombe": Work(
        "R. G. Newcombe",
        1998,
        "Improved confidence intervals for the difference between binomial proportions based on paired data",
        "Statistics in Medicine 17, 2635–2650",
    ),
    "puthawala": Work(
        "M. Puthawala, K. Kothari, M. Lassas, I. Dokmanić and M. de Hoop",
        2022,
        "Globally injective ReLU networks",
        "Journal of Machine Learning Research 23 (105), 1–55",
    ),
    "roweis_saul": Work(
        "S. T. Roweis and L. K. Saul", 2000, "Nonlinear dimensionality reduction by locally linear embedding", "Science 290, 2323–2326"
    ),
    "samelson": Work(
        "H. Samelson, R. M. Thrall and O. Wesler",
        1958,
        "A partition theorem for Euclidean n-space",
        "Proceedings of the American Mathematical Society 9, 805–807",
    ),
    "simonsohn": Work(
        "U. Simonsohn, J. P. Simmons and L. D. Nelson", 2020, "Specification curve analysis", "Nature Human Behaviour 4, 1208–1214"
    ),
    "wilson": Work(
        "E. B. Wilson",
        1927,
        "Probable inference, the law of succession, and statistical inference",
        "Journal of the American Statistical Association 22, 209–212",
    ),
}


def references(**why: str) -> HTML:
    """The paper, and the works that are named, each with why a reader may want it, in the order of their names.

    Errors: KeyError for a name that is not in `WORKS`.
    """
    works = [(WORKS["hauser_ray"], "the paper"), *((WORKS[name], why[name]) for name in sorted(why))]
    return HTML("<b>References</b><ul>" + "".join(f"<li>{escape(f'{work} For: {reason}.')}</li>" for work, reason in works) + "</ul>")
