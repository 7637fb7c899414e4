"""What all explorers share: say the controls and one function from their values to pictures; the rest is here."""
import asyncio
import base64
import copy
import html
import io
import json
import signal
import sys
import textwrap
import threading
from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import cache, partial, wraps
from importlib.metadata import version
from inspect import signature
from itertools import count
from pathlib import Path
from time import perf_counter
from weakref import WeakSet

import ipywidgets as W
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import nn
from traitlets import Any

from ..device import info_of
from ..hooks import resolve_layer
from ..images import load_image, named, to_input, upsampled
from ..methods.activations import channel_response
from ..render import coloured, draw_box, overlay, row, strongest, to_picture, to_png
from ..targets import Neuron, categories, class_index, has_classes, predict

# A readout and a drop-down as wide as what they say, and a place for errors that the page does not jump at.
STYLE = """<style>.vizhelpers-explorer .widget-readout {flex: none; max-width: none; width: auto; white-space: nowrap}
.vizhelpers-explorer .widget-dropdown, .vizhelpers-explorer .widget-text {width: auto; min-width: 300px}</style>"""
OWN = ("layer", "channel")  # controls that each of several nets has for itself
LIVE: WeakSet["Explorer"] = WeakSet()
Map = namedtuple("Map", "values top draw")  # a picture `draw(top)`, `top` its strongest colour; maps `(h,w)` by name


def laid(a, picture) -> Map:
    """A map `(h,w)` over its picture."""
    top = float(upsampled(a[None].float(), picture.size[::-1]).max())
    return Map({"": a}, top, lambda top: overlay(picture, a, top=top))


def tinted(a, like=None, *, side: int, blocks: int = 1, colours: str = "inferno") -> Map:
    """A map `(h,w)` in colours, on its own scale, that of another one or from a lowest to a highest value."""
    if isinstance(like, tuple):
        return Map({"": a}, like[1], lambda top: coloured(a, colours, side, scale=(like[0], top)))
    top = strongest(a if like is None else like, blocks)
    return Map({"": a}, top, lambda top: coloured(a, colours, side, scale=top, blocks=blocks))


def _safe(text) -> str:
    return html.escape(str(text), quote=False).replace("\n", "<br>")


def private(net: nn.Module) -> nn.Module:
    """The net with modules of its own around the same weights, so that hooks and modes that a callback in another
    thread sets reach no cell that uses the net; itself where its parts cannot be copied."""
    try:
        return copy.deepcopy(net, {id(own): own for own in (*net.parameters(), *net.buffers())})
    except (TypeError, RuntimeError, AttributeError):
        return net


def by_name(models) -> dict[str, nn.Module]:
    """Nets by name, from a mapping or one net."""
    if not isinstance(models, Mapping):
        models = {getattr(info_of(models), "name", type(models).__name__): models}
    if not models:
        raise ValueError("Give at least one net, such as {'SqueezeNet': net}.")
    return {str(name): net for name, net in models.items()}


def explores(explore: Callable) -> Callable:
    """An explorer of a net as one of a private copy; of nets by name as one of each, beside each other: the first leads
    what they have in common, each keeps its layer and channel."""
    @wraps(explore)
    def call(model, *args, **options):
        nets, family = by_name(model), {}
        for name, net in nets.items():
            if isinstance(options.get("layers"), list | tuple):  # by names: the copy has modules of its own
                options["layers"] = [resolve_layer(net, layer)[0] for layer in options["layers"]]
            family[name] = explore(private(net), *args, **options)
        first = next(iter(family.values()))
        first.nets = nets
        if len(family) > 1:
            first.lead(family)
        return first

    return call


class Explorer(W.VBox):
    """Controls, a line of text, pictures; `.result` holds the controls' values and the numbers behind what is shown.
    `look(**values)` makes `(text, pictures, numbers)` of the values of all controls, pictures (or `Map`s) by caption; a
    number takes the place of a value of its name. A control is a list (drop-down), a `range`, `slide(...)`, `Pictures`,
    `Classes` or any widget with a value; one that can `take` other words or files gets them from what stands beside it.
    `wait` is the text while something is computed that is too slow to follow a slider. The next run of its cell closes
    it. Of nets by name each has its explorer in `family`, and `.result` is by name."""
    turn = Any()  # what runs now, a row of steps

    def __init__(self, look: Callable, *, wait: str = "", nets: Mapping[str, nn.Module] | None = None, **controls):
        self.cell, self.run = running_cell()
        for old in [one for one in LIVE if self.cell and one.cell == self.cell and one.run != self.run]:
            old.close()
        LIVE.add(self)
        self.look, self.wait, self.lock, self.moving = look, wait, threading.RLock(), False
        self.leader, self.family, self.nets = self, {"": self}, nets or {}  # the first leads
        self.result = self.now = None
        self.images, self.good, self.at, self.controls = [], {}, {}, {}
        self.work, self.text, self.note, self.tools = W.HBox(), W.HTML(), W.HTML(STYLE), W.HBox()
        self.pictures = W.HBox(layout=W.Layout(align_items="flex-start", flex_flow="row wrap"))
        for name, control in controls.items():
            if not isinstance(control, W.Widget):
                control = slide(control) if isinstance(control, range) else W.Dropdown(options=control)
            for part in (control, *(control.beside if hasattr(control, "take") else [])):
                part.observe(partial(self._moved, name), "value")
            self.controls[name] = in_a_row(control, name)
            if len(getattr(control, "options", "any")) == 1 and not isinstance(control, Pictures):
                control.row.layout.display = "none"  # there is nothing to choose
        rows = [control.row for control in self.controls.values()]
        super().__init__([*rows, self.work, self.note, self.text, self.pictures, self.tools])
        self.layout.align_items = "flex-start"
        self.add_class("vizhelpers-explorer")
        self.set()
        save = W.Button(description="Save", icon="save")
        save.on_click(lambda _: self.said(lambda: setattr(self.note, "value", f"{STYLE}saved: {_safe(self.save())}")))
        self.tools.children = [save]
        if any(isinstance(picture, Map) for picture in self.shown.values()):
            self.at = {name: slide(range(2), width="300px") for name in ("row", "column")}
            self.reading, self.read = W.ToggleButton(description="read values", icon="crosshairs"), W.HTML()
            rows = [in_a_row(control, name).row for name, control in self.at.items()]
            self.readers = W.VBox([*rows, self.read], layout=W.Layout(display="none"))
            self.tools.children = [save, self.reading, self.readers]
            for control in (self.reading, *self.at.values()):
                control.observe(lambda _: self.moving or self.said(self.paint), "value")

    def said(self, action: Callable, *values) -> None:
        """One action at a time, as JupyterLab sends messages to several threads; what it moves draws nothing itself.
        No front end shows the exceptions of a control's action, so the page says them, too, until the next good one."""
        with self.lock:
            before, self.moving = self.moving, True
            try:
                if not before:
                    self.note.value = STYLE
                action(*values)
            except BaseException as error:
                self.turn = None  # an error, or an interrupt, ends what runs
                self.note.value = f"{STYLE}<b>{type(error).__name__}</b>: {_safe(error)}"
                raise
            finally:
                self.moving = before

    def _moved(self, name: str, change) -> None:
        with self.lock:  # another thread's action ends first; one of this thread is what moves the control
            value = change.new.strip() if isinstance(change.new, str) else change.new
            if not self.moving and value not in ("", (), {}):  # "": emptied to type another name
                self.set(**{name: value})

    def set(self, **values) -> None:
        """Move controls, ask those that depend on them what there is to choose, draw once; or leave all as it was."""
        self.said(self._set, values)

    def _set(self, values: dict) -> None:
        if self.wait and not any(getattr(self.controls[name], "continuous_update", False) for name in values):
            self.note.value = STYLE + self.wait
        try:
            self._move(values)
            self.job = self.turn = None  # of other values
            self.draw()
        except BaseException:
            self._move(dict(self.good))
            self._lead()
            raise
        self.good = {name: control.value for name, control in self.controls.items()}
        self.note.value = STYLE

    def _move(self, values: dict) -> None:
        moved = set() if self.now else set(self.controls)
        for name, control in self.controls.items():
            if hasattr(control, "ask") and moved & set(signature(control.ask).parameters):
                choices, value = control.ask(**self._of(control.ask))
                if isinstance(choices, range):
                    stretch(control, choices[-1])
                else:
                    control.options = choices
                values.setdefault(name, control.value if value is None else value)
            if name in values:
                control.value = control.take(values[name]) if hasattr(control, "take") else values[name]
                moved.add(name)
            if acts := getattr(control, "acts", None):
                control.disabled = not acts(**self._of(acts))

    def _of(self, function: Callable) -> dict:
        """The values of the controls that a function names."""
        return {name: self.controls[name].value for name in signature(function).parameters}

    def draw(self) -> None:
        values = {name: None if control.disabled else control.value for name, control in self.controls.items()}
        text, shown, numbers = self.look(**values)
        self._lead()
        self.shown, values = shown, values | numbers
        self.now = self.result = namedtuple("Result", values)(**values)
        self.text.value = _safe(text)
        if self.leader is self or not self.leader.moving:
            self.leader.paint()

    def _lead(self) -> None:
        """Move what the other nets' explorers have in common with this one."""
        common = {name: getattr(control, "words", control.value)
                  for name, control in self.controls.items() if name not in OWN}  # fmt: skip
        for other in [*self.family.values()][1:]:
            other.set(**common)

    def paint(self) -> None:
        """The pictures of what was looked at last, the maps of several nets on one scale, the place that is read."""
        family, lines, reading = self.family.values(), [], self.at and self.reading.value
        if len(family) > 1:
            self.result = {name: one.now for name, one in self.family.items()}
        if reading:
            first = next(picture for picture in self.shown.values() if isinstance(picture, Map))
            for control, side in zip(self.at.values(), next(iter(first.values.values())).shape, strict=True):
                stretch(control, side - 1)
        for name, one in self.family.items():
            if not one.images:
                one.images, one.captions = ([kind() for _ in one.shown] for kind in (W.Image, W.HTML))
                one.pictures.children = [W.VBox(pair, layout=W.Layout(margin="0 8px 0 0"))
                                         for pair in zip(one.images, one.captions, strict=True)]  # fmt: skip
            for n, (words, picture) in enumerate(one.shown.items()):
                if isinstance(picture, Map):
                    values, top = picture.values, max([*other.shown.values()][n].top for other in family)
                    picture = picture.draw(top)
                    if reading:
                        picture, said = self._marked(picture, values, words)
                        lines.append(f"{name} {said}".strip())
                picture = picture if isinstance(picture, Image.Image) else to_picture(picture)  # a palette stays one
                image, caption = one.images[n], one.captions[n]
                image.value, image.width, image.height = to_png(picture), str(picture.width), str(picture.height)
                caption.value, caption.layout.width = _safe(words), f"{max(picture.width, 120)}px"
        if self.at:
            self.readers.layout.display, self.read.value = None if reading else "none", _safe("\n".join(lines))

    def _marked(self, picture: Image.Image, values, words: str) -> tuple[Image.Image, str]:
        """The picture with a frame at the place that the sliders row and column mean, and what its maps are there."""
        (h, w), shares = next(iter(values.values())).shape, [(c.value + 0.5) / (c.max + 1) for c in self.at.values()]
        r, c = int(shares[0] * h), int(shares[1] * w)
        found = ", ".join(f"{name} {float(a[r, c]):.4g}".strip() for name, a in values.items())
        if len(values) == 1:  # not many maps on one sheet
            x, y = int((c + 0.5) / w * picture.width), int((r + 0.5) / h * picture.height)
            for reach, colour in ((7, "black"), (5, "white")):
                picture = draw_box(picture, (y - reach, x - reach, y + reach, x + reach), colour=colour)
        return picture, f"{words}, row {r}, column {c} of {h} x {w}: {found}"

    def still(self) -> Image.Image:
        """The pictures as they are now: what a page without a kernel shows (GitHub, an exported lesson)."""
        return row([captioned(Image.open(io.BytesIO(image.value)), f"{name}: {words}".removeprefix(": "))
                    for name, one in self.family.items() for image, words in zip(one.images, one.shown, strict=True)])

    _ipython_display_ = None  # ipywidgets 7 has it instead of the next one, and would show no still picture

    def _repr_mimebundle_(self, **kwargs):
        view = dict(version_major=2, version_minor=0, model_id=self.model_id)
        return {"text/plain": type(self).__name__, "application/vnd.jupyter.widget-view+json": view,
                "image/png": base64.b64encode(to_png(self.still())).decode()}  # fmt: skip

    def save(self, path: str | Path | None = None) -> Path:
        """Write the pictures as one PNG with a line that says what they are; `read_provenance` reads it back."""
        explorer = getattr(self.look, "func", self.look).__qualname__.partition(".")[0]
        settings = {f"{name} of {net}" if net and name in OWN else name: str(getattr(control, "label", control.value))
                    for net, one in self.family.items() for name, control in one.controls.items()
                    if not control.disabled and (one is self or name in OWN)}  # fmt: skip
        versions = {name: version(name) for name in ("vizhelpers", "torch", "pillow")}
        nets = {name: getattr(info_of(net), "weights", "") or "weights of unknown origin"
                for name, net in self.nets.items()}  # fmt: skip
        about = dict(explorer=explorer, nets=nets, settings=settings, captions=[*self.shown], versions=versions)
        said = [", ".join(f"{key} {value}" for key, value in part.items()) for part in (nets, settings, versions)]
        path = Path(path or next(p for n in count(1) if not (p := Path(f"{explorer}-{n}.png")).exists())).absolute()
        info = PngInfo()
        info.add_itxt("vizhelpers", json.dumps(about))
        captioned(self.still(), " | ".join([explorer, *filter(None, said)])).save(path, "PNG", pnginfo=info)
        return path

    def lead(self, family: dict[str, "Explorer"]) -> None:
        """Take explorers of other nets beside this one, into one page of which it moves what they have in common."""
        sides = []
        for name, one in family.items():
            one.note, one.lock, one.leader = self.note, self.lock, self
            one.controls["picture"].images = self.controls["picture"].images
            own = [control.row for key, control in one.controls.items() if key in OWN]
            parts = [W.HTML(f"<b>{html.escape(name)}</b>"), *own, one.text, one.pictures]
            sides.append(W.VBox(parts, layout=W.Layout(max_width="410px")))  # two have room beside each other
        common = [control.row for key, control in self.controls.items() if key not in OWN]
        self.children = [*common, self.note, W.HBox(sides, layout=W.Layout(flex_flow="row wrap")), self.tools]
        self.family = family
        self.set()

    def close(self) -> None:
        """Close all parts, end what runs and let the net, the pictures and the results go."""
        with self.lock:
            if self.look is None:  # closed already
                return
            LIVE.discard(self)
            rows = [control.row for control in self.controls.values()]  # on the leader's page, perhaps
            for part in parts_of(*self.family.values(), *rows, self.work, self.note, self.tools)[:0:-1]:
                part.close()
            super().close()
            self.children, self.images = (), []
            for name in "look make job now result turn good shown at controls family leader nets".split():
                setattr(self, name, None)


def read_provenance(path: str | Path) -> dict:
    """What a picture that an explorer saved says of itself: explorer, nets, settings, captions, versions. Lesson 00."""
    with Image.open(path) as image:
        found = getattr(image, "text", {}).get("vizhelpers")
    if found is None:
        raise ValueError(f"{str(path)!r} does not say where it is from: it is no PNG that an explorer has saved.")
    return json.loads(found)


def running_cell() -> tuple:
    """The cell that runs and this run of it, where the front end names cells (JupyterLab and Notebook 7 do)."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    parent = shell.kernel.get_parent("shell") if hasattr(shell, "kernel") else {}
    return parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")


def parts_of(*widgets: W.Widget) -> list[W.Widget]:
    """Widgets and all that hangs on them: children, layouts, styles, links."""
    found = [*widgets]
    for one in found:
        for value in (*one.trait_values(sync=True).values(), getattr(one, "links", ())):
            inside = value if isinstance(value, tuple | list) else [value]
            found += [part for part in inside if isinstance(part, W.Widget) and part not in found]
    return found


def in_a_row(control: W.Widget, name: str) -> W.Widget:
    """A control, in its `row` with its name before it and what belongs to it behind it."""
    control.description = control.description or name
    flow = "row" if hasattr(control, "acts") else "row wrap"  # a slider's buttons stay where they are
    control.row = W.HBox([control, *getattr(control, "beside", [])], layout=W.Layout(flex_flow=flow))
    return control


def stretch(control: W.IntSlider, end: int) -> None:
    """Another end for a slider, by a new view of it: the page's End key goes to the end that a view began with."""
    if control.max != end:
        parts, control.row.children = control.row.children, ()
        control.max = end  # clips a larger value
        control.row.children = parts


def captioned(picture: Image.Image, words: str) -> Image.Image:
    """A picture with words under it."""
    lines = textwrap.wrap(words, max(20, picture.width // 7))
    page = ImageOps.expand(to_picture(picture), (0, 0, 0, 6 + 17 * len(lines)), "white")
    ImageDraw.Draw(page).multiline_text((1, picture.height + 3), "\n".join(lines), "black", ImageFont.load_default(13))
    return page


class Stepwise(Explorer):
    """An explorer of long work with Start, Stop and a bar: one step at a time between the page's events.
    `make(**values)` begins a job (`done`, `total`, `step()`), which a move of any control forgets; `look(self,
    **values)` shows how far `.job` (or None) is, after `every` steps."""
    def __init__(self, make: Callable, look: Callable, *, button: str = "Start", every: int = 1, **controls):
        self.make, self.every, self.loop = make, every, asyncio._get_running_loop()
        self.start = W.Button(description=button, button_style="success", icon="play")
        self.stop = W.Button(description="Stop", icon="stop")
        self.bar, self.left = W.IntProgress(0, 0, 1, layout=W.Layout(width="260px")), W.Label()
        super().__init__(partial(look, self), **controls)
        self.work.children = [self.start, self.stop, self.bar, self.left]
        self.start.on_click(lambda _: self.said(self.begin))
        self.stop.on_click(lambda _: self.said(self.halt))
        W.dlink((self, "turn"), (self.start, "disabled"), bool)
        W.dlink((self, "turn"), (self.stop, "disabled"), lambda turn: not turn)

    def draw(self) -> None:
        super().draw()
        done, total = (self.job.done, self.job.total) if self.job else (0, 1)
        self.bar.max, self.bar.value = total, done
        self.left.value = f"about {self.spent / done * (total - done):.1f} s to go" if 0 < done < total else ""

    def begin(self, at_once: bool = False) -> None:
        """Go on from where the job stands, with a new one when it is complete."""
        if self.turn:
            return
        if self.job is None or self.job.done == self.job.total:
            self.job, self.spent = self.make(**self._of(self.make)), 0.0  # seconds in the job's steps
        self.turn = turn = object()
        loop = self.loop if self.loop and self.loop.is_running() else asyncio._get_running_loop()
        if loop and not at_once:
            loop.call_soon_threadsafe(self.said, self._step, turn, loop)  # the loop of cells: never beside a cell
        while self.turn and (at_once or not loop):  # in a plain program nobody could click in between
            self._step(turn)

    def halt(self) -> None:
        """Stop after the step that runs; what is done is kept, and Start goes on from there."""
        self.turn = None
        self.draw()

    def _step(self, turn: object, loop=None) -> None:
        """One step, then give way to the loop: a click on Stop is handled before the next one."""
        if turn is not self.turn:  # stopped since
            return
        main = threading.current_thread() is threading.main_thread()
        if loop and main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a kernel between two cells
            signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(interrupt))
        begun = perf_counter()
        self.job.step()
        self.spent += perf_counter() - begun
        if self.job.done == self.job.total:
            self.turn = None
        if self.job.done % self.every == 0 or not self.turn:
            self.draw()
        if loop and self.turn:
            loop.call_later(0.02, self.said, self._step, turn, loop)


def interrupt() -> None:
    """Stop all that runs between cells, where a kernel takes no interrupts."""
    for one in [one for one in LIVE if one.turn]:
        one.said(one.halt)


def slide(choices, start=None, *, slow=False, acts: Callable | None = None, play=False, width: str = "480px"):
    """A slider, with step buttons, over a `range`, a list (of values or of (label, value)), or what a function of
    controls named before it gives: `(range, value)`; with None the value stays if it can. `slow`: it waits until it is
    let go; `acts`, a function of controls: else it is grey and `look` gets None; `play`: a button runs it."""
    how = dict(continuous_update=not slow, layout=W.Layout(width=width, max_width="80%"))
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
        button = W.Button(description=sign, layout=W.Layout(width="36px"))
        button.on_click(lambda _, by=by: move(by))
        control.beside.append(button)
    if play:
        control.beside.append(W.Play(value=control.max, min=control.min, max=control.max, interval=200))
        control.links = [W.jslink((control.beside[-1], "value"), (control, "value"))]
    control.observe(lambda change: [setattr(part, "disabled", change.new) for part in control.beside], "disabled")
    return control


class Pictures(W.Dropdown):
    """The control `picture`: pictures by name, and a button that takes one's own, which is chosen at once; called with
    a name it gives the net's normalised input `(1,3,H,W)`."""
    def __init__(self, images, model: nn.Module | None = None):
        self.images, self.input = named(images), cache(lambda name: to_input(self.images[name], model))
        super().__init__(options=[*self.images])
        self.upload = W.FileUpload(accept="image/*,.heic,.heif", description="your own")
        self.upload.tooltip = "at most 20 MB; 10 where the server was not started by make lab"
        self.beside = [self.upload]

    def __call__(self, name: str | None = None):
        return self.input(name or self.value)

    def take(self, wanted) -> str:
        """The name of a picture, or of a file that came from the page, as one that may be chosen."""
        name = wanted if isinstance(wanted, str) else self.add(wanted)
        self.options = [*self.images]
        return name

    def add(self, files) -> str:
        """A file as the upload button's value has it (by name in ipywidgets 7); its new name."""
        self.upload.set_trait("value", type(self.upload.value)())
        last = [*(files.values() if isinstance(files, Mapping) else files)][-1]
        name, content = last.get("metadata", last)["name"], bytes(last["content"])
        if len(content) > 20 * 2**20:
            raise ValueError(f"{name} has {len(content) / 2**20:.0f} MB; a picture may have 20.")
        try:
            image = load_image(content)
        except ValueError as error:
            raise ValueError(f"{name}: {error}.") from None
        name = next(new for n in count(1) if (new := f"{name} ({n})" if n > 1 else name) not in self.images)
        self.images[name] = image
        return name


class Classes(W.Dropdown):
    """The control `target`: the five most probable classes of the picture, and by the box beside them any other.
    On a net without class scores: the five channels of `layer` with the strongest mean response, as `Neuron`s."""
    def __init__(self, model: nn.Module, pictures: Pictures, layer: str):
        self.model, self.pictures, self.layer = model, pictures, None if has_classes(model, pictures()) else layer
        super().__init__(description="channel" if self.layer else "class")
        self.beside = [W.Text(description="search", placeholder=f"another {self.description}, then Enter",
                              continuous_update=False)]  # fmt: skip

    def ask(self, picture: str) -> tuple[list, int | Neuron]:
        x = self.pictures(picture)
        if self.layer:
            means = channel_response(self.model, x, self.layer)[0]
            found = [(f"{self.layer} channel {k}, mean {means[k]:.2f}", Neuron(self.layer, k))
                     for k in means.topk(min(5, len(means))).indices.tolist()]  # fmt: skip
        else:
            found = [(f"{p.label} {p.probability:.1%}", p.index) for p in predict(self.model, x)]
        return found, found[0][1]

    @property
    def words(self) -> str:
        """What another net is asked in its place."""
        return str(self.value.channel) if self.layer else categories(self.model)[self.value]

    def take(self, wanted):
        """A class or channel, also by its words, as one that may be chosen."""
        if self.layer:
            if not isinstance(wanted, Neuron) and not str(wanted).isdigit():
                raise ValueError(f"{wanted!r} is no number: this net has no classes, but channels of {self.layer}.")
            target = wanted if isinstance(wanted, Neuron) else Neuron(self.layer, int(wanted))
            label = f"{target.layer} channel {target.channel}"
        else:
            target = class_index(self.model, int(wanted) if str(wanted).isdigit() else wanted)
            label = categories(self.model)[target]
        if target not in dict(self.options).values():
            self.options = [*self.options, (label, target)]
        return target
