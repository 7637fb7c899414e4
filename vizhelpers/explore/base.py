"""What all explorers share: say the controls and one function from their values to pictures; the rest is here."""
import asyncio
import base64
import html
import io
from collections import namedtuple
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from inspect import signature
from threading import RLock
from time import perf_counter

import ipywidgets as W
from PIL import Image

from ..methods.activations import channel_response
from ..render import row, to_picture, to_png
from ..targets import Neuron, categories, class_index, has_classes, predict


class Html(str):
    """Text of an explorer that is HTML already, every name in it escaped."""


class Explorer(W.VBox):
    """Controls, a line of text, pictures; `.result` holds the controls' values and the numbers behind what is shown.
    `look(**values)` makes `(text, pictures, numbers)` of the values of all controls but searches; a number takes the
    place of a value of its name. A control is a list (drop-down), a `range`, `slide(...)`, `Classes`, a `Search` or any
    widget with a value. `wait` is the text while something is computed that is too slow to follow a slider."""
    def __init__(self, look: Callable, *, wait: str = "", **controls):
        self.look, self.wait, self.images, self.result, self.lock, self.moving = look, wait, [], None, RLock(), False
        self.text, self.pictures = W.HTML(), W.HBox(layout=W.Layout(align_items="flex-start", flex_flow="row wrap"))
        self.controls, rows = {}, []
        for name, control in controls.items():
            if not isinstance(control, W.Widget):
                control = slide(control) if isinstance(control, range) else W.Dropdown(options=control)
            control.description = control.description or name
            control.observe(partial(self._moved, name), "value")
            if not isinstance(control, Search):
                self.controls[name] = control
            if len(getattr(control, "options", "any")) > 1 or hasattr(control, "ask"):  # else nothing to choose
                rows.append(W.HBox([control, *getattr(control, "beside", [])]))
        super().__init__([*rows, self.text, self.pictures], layout=W.Layout(align_items="flex-start"))
        self.add_class("vizhelpers-explorer")
        self.set()

    @contextmanager
    def _alone(self):
        """One action at a time, as JupyterLab sends messages to several threads; what it moves draws nothing itself.
        No front end shows the exceptions of a control's action, so the page says them, too."""
        with self.lock:
            before, self.moving = self.moving, True
            try:
                yield
            except Exception as error:
                self.text.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"
                raise
            finally:
                self.moving = before

    def said(self, action: Callable[[], object]) -> None:
        with self._alone():
            action()

    def _moved(self, name: str, change) -> None:
        with self.lock:  # another thread's action ends first; one of this thread is what moves the control
            if not self.moving and (words := str(change.new).strip()):  # not emptied to type another name
                search = isinstance(change.owner, Search)
                self.said(lambda: self.set(**change.owner.find(words) if search else {name: change.owner.value}))

    def set(self, **values) -> None:
        """Move controls, ask those that depend on them anew what there is to choose, draw once."""
        if self.wait and not any(getattr(self.controls[name], "continuous_update", False) for name in values):
            self.text.value = self.wait
        moved = set() if self.result else set(self.controls)
        with self._alone():
            for name, control in self.controls.items():
                if hasattr(control, "ask") and moved & set(signature(control.ask).parameters):
                    choices, value = control.ask(**self._of(control.ask))
                    if isinstance(choices, range):
                        control.max = choices[-1]  # clips a larger value
                    else:
                        control.options = choices
                    values.setdefault(name, control.value if value is None else value)
                if name in values:
                    control.value = values[name]
                    moved.add(name)
            self.draw()

    def _of(self, function: Callable) -> dict:
        """The values of the controls that a function names."""
        return {name: self.controls[name].value for name in signature(function).parameters}

    def draw(self) -> None:
        values = {}
        for name, control in self.controls.items():
            acts = getattr(control, "acts", None)
            control.disabled = bool(acts) and not acts(**self._of(acts))
            values[name] = None if control.disabled else control.value
        text, pictures, numbers = self.look(**values)
        values |= numbers
        self.result = namedtuple("Result", values)(**values)
        self.text.value = text if isinstance(text, Html) else html.escape(text, quote=False).replace("\n", "<br>")
        if not self.images:
            self.images = [W.Image(format="png", layout=W.Layout(margin="0 8px 0 0")) for _ in pictures]
            self.pictures.children = self.images
        for image, picture in zip(self.images, pictures, strict=True):
            picture = picture if isinstance(picture, Image.Image) else to_picture(picture)  # a palette stays one
            image.value, image.width, image.height = to_png(picture), str(picture.width), str(picture.height)

    def still(self) -> Image.Image:
        """The pictures as they are now: what a page without a kernel shows (GitHub, an exported lesson)."""
        return row([Image.open(io.BytesIO(image.value)) for image in self.images])

    def _repr_mimebundle_(self, **kwargs):
        still = {"image/png": base64.b64encode(to_png(self.still())).decode()}
        return (super()._repr_mimebundle_(**kwargs) or {}) | still


class Stepwise(Explorer):
    """An explorer of long work with Start, Stop and a bar: one step at a time between the page's events.
    `make(**values)` begins a job (`done`, `total`, `step()`), which a move of any control forgets; `look(self,
    **values)` shows how far `.job` (or None) is, after `every` steps."""
    def __init__(self, make: Callable, look: Callable, *, button: str = "Start", every: int = 1, **controls):
        self.make, self.every = make, every
        self.start = W.Button(description=button, button_style="success", icon="play")
        self.stop = W.Button(description="Stop", icon="stop")
        self.bar = W.IntProgress(0, 0, 1, layout=W.Layout(width="260px"))
        super().__init__(partial(look, self), **controls)
        self.children = [*self.children[:-2], W.HBox([self.start, self.stop, self.bar]), *self.children[-2:]]
        self.start.on_click(lambda _: self.said(self.begin))
        self.stop.on_click(lambda _: self.said(self.halt))

    def set(self, **values) -> None:
        with self._alone():
            self.job = None
            self._set_running(False)
            super().set(**values)

    def draw(self) -> None:
        self.bar.max, self.bar.value = (self.job.total, self.job.done) if self.job else (1, 0)
        super().draw()

    def begin(self, at_once: bool = False) -> None:
        """Go on from where the job stands, with a new one when it is complete."""
        if self._running:
            return
        if self.job is None or self.job.done == self.job.total:
            self.job, self.spent = self.make(**self._of(self.make)), 0.0  # seconds in the job's steps
        self._set_running(True)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a plain Python program: there is nobody who could click in between
            at_once = True
        while at_once and self._running:
            self._step()

        def tick(job):  # one step, then give way: a click on Stop is handled before the next one
            if self._running and job is self.job:
                self.said(self._step)
                loop.call_later(0.02, tick, job)

        tick(self.job)

    def halt(self) -> None:
        """Stop after the step that runs; what is done is kept, and Start goes on from there."""
        self._set_running(False)
        self.draw()

    def _step(self) -> None:
        running, begun = False, perf_counter()
        try:
            self.job.step()
            self.spent += perf_counter() - begun
            if self.job.done % self.every == 0 or self.job.done == self.job.total:
                self.draw()
            running = self.job.done < self.job.total
        finally:  # an error ends it, too
            self._set_running(running)

    def _set_running(self, running: bool) -> None:
        self._running = self.start.disabled = running
        self.stop.disabled = not running


def slide(choices, start=None, *, slow: bool = False, acts: Callable | None = None, play: bool = False):
    """A slider, with step buttons, over a `range`, a list (of values or of (label, value)), or what a function of
    controls named before it gives: `(range, value)`; with None the value stays if it can. `slow`: it waits until it is
    let go; `acts`, a function of controls: else it is grey and `look` gets None; `play`: a button runs it."""
    how = dict(continuous_update=not slow, layout=W.Layout(width="480px", max_width="80%"))
    if isinstance(choices, list):
        control = W.SelectionSlider(options=choices, **how)
    elif isinstance(choices, range):
        control = W.IntSlider(min=choices[0], max=choices[-1], step=choices.step, **how)
    else:
        control = W.IntSlider(max=start or 0, **how)
        control.ask = choices
    if start is not None:
        control.value = start
    control.acts, control.beside = acts, []

    def move(by: int):
        if isinstance(choices, list):
            control.index = min(max(control.index + by, 0), len(control.options) - 1)
        else:
            control.value += by * control.step  # stays between its ends by itself

    for sign, by in (("◀", -1), ("▶", 1)):  # Notebook 7 keeps the arrow keys for itself
        button = W.Button(description=sign, tooltip="one back" if by < 0 else "one on", layout=W.Layout(width="36px"))
        button.on_click(lambda _, by=by: move(by))
        control.beside.append(button)
    if play:
        control.beside.append(W.Play(value=control.max, min=control.min, max=control.max, interval=200))
        W.jslink((control.beside[-1], "value"), (control, "value"))
    return control


class Search(W.Text):
    """A box for words; `find(words)` says which values of which controls they mean."""
    def __init__(self, find: Callable[[str], dict], placeholder: str):
        super().__init__(placeholder=placeholder, continuous_update=False)
        self.find = find


class Classes(W.Dropdown):
    """The control `target`: the five most probable classes of the picture, and by its `.search` any other.
    On a net without class scores: the five channels of `layer` with the strongest mean response, as `Neuron`s."""
    def __init__(self, model, inputs: dict, layer: str):
        self.model, self.inputs = model, inputs
        self.layer = None if has_classes(model, next(iter(inputs.values()))) else layer
        super().__init__(description="channel" if self.layer else "class")
        self.search = Search(self.find, f"another {self.description}, then Enter")

    def ask(self, picture: str) -> tuple[list, int | Neuron]:
        x = self.inputs[picture]
        if self.layer:
            means = channel_response(self.model, x, self.layer)[0]
            found = [(f"{self.layer} channel {k}, mean {means[k]:.2f}", Neuron(self.layer, k))
                     for k in means.topk(5).indices.tolist()]  # fmt: skip
        else:
            found = [(f"{p.label} {p.probability:.1%}", p.index) for p in predict(self.model, x)]
        return found, found[0][1]

    def find(self, words: str) -> dict:
        if self.layer:
            target = Neuron(self.layer, int(words))
            label = f"{self.layer} channel {target.channel}"
        else:
            target = class_index(self.model, int(words) if words.isdigit() else words)
            label = categories(self.model)[target]
        if target not in dict(self.options).values():
            self.options = [*self.options, (label, target)]
        return {"target": target}
