"""Controls to play with: a figure of a notebook, drawn again as a reader turns what it depends on.

`play` draws the figure at the defaults. Where a reader sits at a kernel, the controls stand above it. Where nobody does (papermill, nbval,
and so the published notebooks and the book), there is only the picture: no widget is made, and none is saved.
"""

import inspect
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO

import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.display import display
from ipywidgets import HTML, Button, HBox, Image, Layout, Output, ValueWidget, VBox, interactive
from matplotlib.figure import Figure

PNG = "image/png"
QUICK = {"compress_level": 1}  #: of PNG: the same pixels in a tenth less time, in a file that nobody keeps


def play(draw: Callable[..., Figure], *buttons: Callable[..., str], **controls) -> None:
    """Shows the figure that `draw()` returns, with a control for each keyword, which is a parameter of `draw` with a default.

    A control is a range `(low, high)` or `(low, high, step)`, a list of options, a dictionary of named options, or a widget of ipywidgets.
    It starts at the default. Turning it calls `draw` with the values of all controls, so what depends on none of them is to be computed
    outside. A function in `buttons` becomes a button of its name. It takes the same values, and returns a line to show; then the figure is
    drawn again. Errors: ValueError for a control that is not a parameter with a default, or whose range does not hold the default.

    >>> play(lambda layer=0: section7.layers(net, sample, shown=[layer]), layer=(0, 10))  # doctest: +SKIP
    """
    picture, about = drawn(draw, defaults(draw, controls))
    shown = {PNG: b64encode(picture).decode(), "text/plain": f"<Figure {draw.__name__}>"}
    if is_live():  # the picture is for a front end without widgets
        shown |= Panel(draw, buttons, controls).box._repr_mimebundle_()
    display(shown, metadata=about, raw=True)


def is_live() -> bool:
    """Whether a reader sits at this kernel. A front end lets a cell ask its reader for input; papermill and nbval do not."""
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True) and not os.environ.get("TQDM_DISABLE")


class Panel:
    """Controls, buttons, a line of text and the picture, one above the other in `box`.

    `controls` and `buttons` are widgets by name, `picture` holds the PNG, `message` the line.
    """

    def __init__(self, draw: Callable[..., Figure], buttons: Sequence[Callable[..., str]], controls: Mapping[str, object]):
        self.draw, start = draw, defaults(draw, controls)
        self.controls = {name: control(name, given, start[name]) for name, given in controls.items()}
        self.buttons = {action.__name__: Button(description=action.__name__.replace("_", " ")) for action in buttons}
        self.message, self.progress = HTML(), Output()
        self.picture = Image(
            value=drawn(draw, start, **QUICK)[0], format="png", layout=Layout(max_width="calc(100% - 4px)", align_self="flex-start")
        )
        for widget in self.controls.values():
            widget.observe(lambda change: self.redraw(), "value")
        for action in buttons:
            self.buttons[action.__name__].on_click(lambda button, action=action: self.press(button, action))
        rows = [*self.controls.values(), *self.buttons.values()]
        self.box = VBox([HBox(rows, layout=Layout(flex_flow="row wrap")), self.message, self.progress, self.picture])

    @property
    def values(self) -> dict:
        """What the controls stand at."""
        return {name: widget.value for name, widget in self.controls.items()}

    def redraw(self) -> None:
        """Draws the figure of the present values. Where that fails the last picture stays, and the line says why."""
        try:
            self.picture.value = drawn(self.draw, self.values, **QUICK)[0]
            self.message.value = ""
        except Exception as error:  # whatever a drawing function may raise
            self.message.value = f"This is still the last picture. {reason(error)}"

    def press(self, button: Button, action: Callable[..., str]) -> None:
        """Runs what belongs to a button, with its progress bar in the panel, draws the figure again, and shows the line it returns."""
        button.disabled, self.message.value = True, ""
        said = failed = ""
        with self.progress:  # in a kernel it keeps every exception to itself, so this one is caught inside
            try:
                said = escape(action(**self.values))
            except Exception as error:
                failed = f"{button.description} failed. {reason(error)}"
        if not failed:
            self.redraw()
        self.message.value = failed or self.message.value or said
        self.progress.outputs, button.disabled = (), False


def defaults(draw: Callable[..., Figure], controls: Mapping[str, object]) -> dict:
    """The value at which each control starts: the default of the parameter of `draw`."""
    parameters = inspect.signature(draw).parameters
    wrong = [name for name in controls if name not in parameters or parameters[name].default is inspect.Parameter.empty]
    if wrong:
        raise ValueError(f"{draw.__name__} has no default for {', '.join(wrong)}; a parameter with a default is needed for each control")
    return {name: parameters[name].default for name in controls}


def control(name: str, given, default) -> ValueWidget:
    """The widget for a range, options or a widget, at its default."""
    widget = interactive.widget_from_abbrev(given, default)
    if widget is None or widget.value != default:
        raise ValueError(f"the control of {name} is {given!r}; one that holds the default {default!r} is needed")
    widget.description, widget.style.description_width = name.replace("_", " "), "initial"
    return widget


def drawn(draw: Callable[..., Figure], values: Mapping[str, object], **settings) -> tuple[bytes, dict]:
    """The PNG of the figure of these values, and its metadata: its text, where it has one (`figures.described`).

    `settings` are those of Pillow for a PNG. No figure stays open, not even one that was left half drawn.
    """
    before = plt.get_fignums()
    try:
        fig = draw(**values)
        fig.savefig(file := BytesIO(), format="png", dpi="figure", pil_kwargs=settings)
        return file.getvalue(), fig._repr_mimebundle_()[1] if hasattr(fig, "_repr_mimebundle_") else {}
    finally:
        for number in set(plt.get_fignums()) - set(before):
            plt.close(number)


def reason(error: Exception) -> str:
    """An error in one line of HTML."""
    return escape(f"{type(error).__name__}: {error}".splitlines()[0])
