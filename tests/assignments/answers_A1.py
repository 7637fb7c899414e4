"""Answers to A1: right ones written differently, and every slip with its cell and the words that it hears."""

EXIT_STACK = '''
from contextlib import ExitStack

def layer_outputs(model, x, names):
    kept = {}
    def keep(name, layer, inputs, output):
        kept[name] = output
        return output.clone()  # the net goes on with the copy
    with ExitStack() as stack, torch.no_grad():
        for name in names:
            layer = dict(model.named_modules())[name]
            stack.callback(layer.register_forward_hook(partial(keep, name)).remove)
        model(x)
    return kept
'''
UNPROTECTED = '''
def layer_outputs(model, x, names):
    found, handles = {}, []
    for name in names:
        layer = model.get_submodule(name)
        handles.append(layer.register_forward_hook(lambda m, i, o, name=name: found.update({name: o.clone()})))
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found
'''
BY_VH = '''
def layer_outputs(model, x, names):
    with vh.capture(model, *names) as acts:
        model(x)
    return {name: acts[name] for name in names}
'''
Q1, Q2 = "a1_q1_hidden", "a1_q2_hidden"

TWO_TESTS = '''
def my_test(Recorder):
    torch.manual_seed(3)
    x = torch.randn(2, 1, 5, 5)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 2), nn.ReLU(inplace=True))
    truth = [model[0](x), model[0](2 * x)]
    recorder = Recorder(model, ["0", "2"])
    model(x)
    model(2 * x)
    recorder.close()
    for i in range(2):
        assert i < len(recorder["0"]) and (recorder["0"][i] - truth[i]).abs().max() < 1e-5
    model(x)
    assert len(recorder["0"]) == 2 and len(recorder["2"]) == 2
'''
WITH_VH = '''
from copy import deepcopy

def my_test(Recorder):
    mine = deepcopy(net)  # a class that leaves hooks leaves them in the copy
    x = torch.randn(1, 3, 70, 70)
    recorder = Recorder(mine, ["features.0", "features.3"])
    mine(x)
    mine(-x)
    recorder.close()
    with vh.capture(mine, "features.0", "features.3") as acts:
        mine(x)
    assert not any(layer._forward_hooks for layer in mine.modules())
    assert [len(recorder[name]) for name in acts] == [2, 2]
    assert all(torch.allclose(recorder[name][0], acts[name], atol=1e-3) for name in acts)
'''
AT_ONCE = WITH_VH.replace("    mine(x)\n    mine(-x)\n    recorder.close()\n", "").replace(
    "        mine(x)\n", "        mine(x)\n    mine(-x)\n    recorder.close()\n")  # its hook hands on a copy
SHAPES = '''
def my_test(Recorder):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
    recorder = Recorder(model, ["0"])
    model(torch.ones(1, 1, 5, 5))
    model(torch.ones(1, 1, 5, 5))
    recorder.close()
    assert [kept.shape for kept in recorder["0"]] == [(1, 2, 3, 3)] * 2
'''
ALWAYS = '''
def my_test(Recorder):
    assert False
'''
CALLS_ONLY = '''
def my_test(Recorder):
    Recorder(nn.Sequential(nn.ReLU()), ["0"])
'''
MENDED_BY_CLONE_AWAY = '''
class Mended:
    def __init__(self, model, names):
        self.outputs, self.closing = {name: [] for name in names}, []
        for name, runs in self.outputs.items():
            def keep(layer, inputs, output, runs=runs):
                runs.append(output)
                return output.clone()
            self.closing.append(model.get_submodule(name).register_forward_hook(keep).remove)

    def __getitem__(self, name):
        return tuple(self.outputs[name])

    def close(self):
        while self.closing:
            self.closing.pop()()
'''
MEND, MEND_SEEN = "a1_q2_mend_hidden", "a1_q2_mend_seen"

PROBE = '''
def sees(chain, size=1, jump=1, start=0):
    """By experiment: a step response of the same geometry, all weights 1."""
    def ones(layers, x):
        for layer in layers:
            if isinstance(layer, Sum):
                x = torch.stack([ones(branch, x) for branch in layer.branches]).sum(0)
            elif isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
                k, s, p = (v[0] if isinstance(v, tuple) else v
                           for v in (layer.kernel_size, layer.stride, layer.padding))
                d = layer.dilation if hasattr(layer, "dilation") else 1
                d = d[0] if isinstance(d, tuple) else d
                x = F.conv1d(x, torch.ones(1, 1, k, dtype=torch.float64), None, s, p, d)
        return x

    eye = torch.eye(407, dtype=torch.float64)[:, None]  # 407 pictures of one bright pixel
    reached = ones(chain, eye)[:, 0] != 0
    unit = reached.shape[1] // 2
    first = [int(reached[:, u].nonzero().min()) for u in (unit, unit + 1)]
    last = int(reached[:, unit].nonzero().max())
    return last - first[0] + 1, first[1] - first[0], first[0] - unit * (first[1] - first[0])
'''
CONV_AND_MAX = '''
def sees(chain, size=1, jump=1, start=0):
    for layer in chain:
        if isinstance(layer, Sum):
            (size, jump, start), *_ = [sees(branch, size, jump, start) for branch in layer.branches]
        elif isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            k, s, p = (v if isinstance(v, int) else v[0] for v in (layer.kernel_size, layer.stride, layer.padding))
            d = layer.dilation if isinstance(layer.dilation, int) else layer.dilation[0]
            size, start, jump = size + (k - 1) * d * jump, start - p * jump, jump * s
    return size, jump, start
'''
CONV_ONLY = CONV_AND_MAX.replace("nn.Conv2d | nn.MaxPool2d", "nn.Conv2d")
Q3, BRANCH = "a1_q3_hidden", "a1_q3_branch_hidden"

LOOPS = '''
def top_crops(values, channel, field, k, shape):
    size, jump, start = field
    best = []
    for n, maps in enumerate(values[:, channel].tolist()):
        value, row, column = maps[0][0], 0, 0
        for r, line in enumerate(maps):
            for c, v in enumerate(line):
                if v > value:
                    value, row, column = v, r, c
        best.append((-value, n, row, column))
    def edges(unit, side):
        return max(0, start + unit * jump), min(side, start + unit * jump + size)
    crops = []
    for _, n, row, column in sorted(best)[:k]:
        (top, bottom), (left, right) = edges(row, shape[0]), edges(column, shape[1])
        crops.append([n, [top, left, bottom, right]])
    return crops
'''
TWO_OF_ONE = '''
def top_crops(values, channel, field, k, shape):
    size, jump, start = field
    n, h, w = values[:, channel].shape
    crops = []
    for place in values[:, channel].flatten().argsort(descending=True, stable=True)[:k].tolist():
        top, left = start + jump * (place // w % h), start + jump * (place % w)
        crops.append((place // (h * w), (max(top, 0), max(left, 0), min(top + size, shape[0]),
                                         min(left + size, shape[1]))))
    return crops
'''
Q4 = "a1_q4_hidden"

ADD_ONE_BY_ONE = '''
def unpool(y, switches, size):
    out = y.new_zeros(y.shape[:-2].numel(), size[0] * size[1])
    rows = torch.arange(len(out))[:, None].expand(-1, y.shape[-1] * y.shape[-2])
    places = switches.reshape(len(out), -1)
    out.index_put_((rows, places), y.reshape(len(out), -1), accumulate=True)
    return out.reshape(*y.shape[:-2], *size)
'''
OF_LESSON_04 = '''
def unpool(y, switches, size):
    flat = torch.zeros(*y.shape[:2], size[0] * size[1], dtype=y.dtype)
    flat.scatter_add_(2, switches.flatten(2), y.flatten(2))
    return flat.view(*y.shape[:2], *size)
'''
BY_CHAIN_RULE = '''
def step_down(conv, pool, x, signal):
    with torch.enable_grad():
        maps = conv(x).relu().detach().requires_grad_()
        (g,) = torch.autograd.grad(pool(maps), maps, signal)
    return torch.nn.grad.conv2d_input(x.shape, conv.weight, g.relu(), conv.stride, conv.padding)
'''
Q5, STEP, STEP_CELL = "a1_q5_hidden", "a1_q5_step_hidden", "a1_q5_step"
MAX_UNPOOL = '''
def unpool(y, switches, size):
    flat = y.reshape(-1, *y.shape[-2:])
    out = torch.zeros(len(flat), size[0] * size[1], dtype=y.dtype)
    out.scatter_(1, switches.reshape(len(flat), -1), flat.flatten(1))  # writes, as nn.MaxUnpool2d does
    return out.view(*y.shape[:-2], *size)
'''
TORCH_UNPOOL = '''
def unpool(y, switches, size):
    shape = y.shape[:-2]
    y, switches = (t.reshape(-1, *t.shape[-2:]) for t in (y, switches))
    return F.max_unpool2d(y, switches, 3, 2, 0, tuple(size)).reshape(*shape, *size)
'''

LOOPS_OVER_PHASES = '''
import math

def shift_error(weight, stride, frequency):
    def response(phase, moved):
        wave = torch.tensor([0.5 + 0.5 * math.cos(2 * math.pi * frequency * (i - moved) + phase)
                             for i in range(64)], dtype=torch.float64)
        ring = torch.cat([wave, wave])[None, None, : 63 + len(weight)]
        return F.conv1d(ring, weight.double()[None, None], stride=stride).clamp(min=0).mean().item()

    phases = [math.pi * m / 8 for m in range(16)]
    mean = sum(response(p, 0) for p in phases) / 16
    change = max(abs(response(p, 1) - response(p, 0)) for p in phases)
    return change / mean if mean else 0.0

def largest_stride(weight, frequency):
    for stride in (4, 2):
        if shift_error(weight, stride, frequency) < 0.1:
            return stride
    return 1
'''
Q6 = "a1_q6_hidden"

def slips(question: str, answered: str, rows) -> list[tuple]:
    """Rows (title, graded cell, words, a whole cell) or (..., old, new, old, new, ...) of the reference's cell."""
    return [(question, title, {answered: [*zip(new[::2], new[1::2], strict=True)] if new[1:] else new[0]}, cell, words)
            for title, cell, words, *new in rows]  # fmt: skip


RIGHT = [
    ("q1", "an ExitStack, and the net goes on with a copy", {"a1_q1": EXIT_STACK}),
    ("q2", "two runs of a longer net", {"a1_q2": TWO_TESTS}),
    ("q2", "SqueezeNet and vh.capture", {"a1_q2": WITH_VH}),
    ("q2", "the hook hands a copy on", {"a1_q2_mend": MENDED_BY_CLONE_AWAY}),
    ("q3", "by experiment", {"a1_q3": PROBE}),
    ("q4", "loops", {"a1_q4": LOOPS}),
    ("q5", "index_put_ that accumulates, and the chain rule", {"a1_q5": ADD_ONE_BY_ONE, STEP_CELL: BY_CHAIN_RULE}),
    ("q6", "loops over phases", {"a1_q6": LOOPS_OVER_PHASES}),
]
SLIPS = [
    *slips("q1", "a1_q1", [
        ("no clone", Q1, "rewritten by the in-place ReLU", "output.clone()", "output"),
        ("detach only", Q1, "rewritten by the in-place ReLU", "output.clone()", "output.detach()"),
        ("handle not removed", Q1, "a hook is left in the model", "handle.remove()", "pass"),
        ("handle not removed, visible", "a1_q1_seen", "a hook is left", "handle.remove()", "pass"),
        ("only the last handle removed", Q1, "a hook is left", "        for handle in handles:\n            handle",
         "        handles[-1]"),
        ("removed only when nothing raised", Q1, "when the model raises, your hooks stay", "    finally:\n",
         "    except ZeroDivisionError:\n        pass\n    else:\n"),
        ("registered outside of try", Q1, "when a name is unknown", UNPROTECTED),
        ("the error is swallowed", Q1, "an error must reach the caller", "    finally:\n",
         "    except RuntimeError:\n        pass\n    finally:\n"),
        ("keyed by type", Q1, "a type is no key", "found[name] = ", "found[type(layer).__name__] = "),
        ("kept by type, named at the end", Q1, "holds the output of the next layer of its type", "found[name] = ",
         "found[type(layer)] = ", "return found", "return {n: found[type(model.get_submodule(n))] for n in names}"),
        ("late binding", Q1, "so bind it", "            def keep(layer, inputs, output, name=name):\n"
         "                found[name] = output.clone()\n", "", "model.get_submodule(name).register_forward_hook(keep)",
         "model.get_submodule(name).register_forward_hook(lambda m, i, o: found.update({name: o.clone()}))"),
        ("hands on what it keeps", Q1, "do not hand on the very tensor", "found[name] = output.clone()",
         "return found.setdefault(name, output.clone())"),
        ("the layer's input", Q1, "holds the layer's input", "output.clone()", "inputs[0].clone()"),
        ("the first picture only", Q1, "the first picture only", "output.clone()", "output[:1].clone()"),
        ("float32 only", Q1, "keep its type", "output.clone()", "output.float().clone()"),
        ("clears everybody's hooks", Q1, "a hook that is not yours",
         "        for handle in handles:\n            handle.remove()",
         "        for layer in model.modules():\n            layer._forward_hooks.clear()"),
        ("runs the model for each name", Q1, "register all hooks, then run it once", "        model(x)\n",
         "            model(x)\n"),
        ("gradients stay off", Q1, "gradients stay off", "    try:\n", "    torch.set_grad_enabled(False)\n    try:\n"),
        ("gradients stay off after an error", Q1, "gradients stay off", "        model(x)\n",
         "        torch.set_grad_enabled(False)\n        model(x)\n        torch.set_grad_enabled(True)\n"),
        ("the model stays in eval mode", Q1, "the model's mode", "        model(x)\n", "        model.eval()(x)\n"),
        ("vh.capture", Q1, "without `vh.`", BY_VH),
        ("returns nothing", "a1_q1_seen", "returns nothing", "return found", "print(found)"),
    ]),
    *slips("q2", "a1_q2", [
        ("a net without in-place ReLU", Q2, "lets a defect pass (no copy", "inplace=True", "inplace=False"),
        ("vh.capture at the same time", Q2, "lets a defect pass (no copy", AT_ONCE),
        ("compares shapes", Q2, "lets a defect pass (detach() only", SHAPES),
        ("compares the second run only", Q2, "lets a defect pass (no copy", "zip(kept, want)",
         "zip(kept[1:], want[1:])"),
        ("one run only", Q2, "lets a defect pass (the second run", "len(kept) == 2", "len(kept) > 0",
         "zip(kept, want)", "zip(kept[-1:], want[-1:])", "nn.ReLU(inplace=True), conv)",
         "nn.ReLU(inplace=True), conv, nn.ReLU(inplace=True))", "want[1], atol", "want[1].relu(), atol"),
        ("one name only", Q2, "lets a defect pass (close() removes only", '["0", "1"]', '["0"]'),
        ("looks for hooks on the net alone", Q2, "lets a defect pass (close() removes only",
         "any(m._forward_hooks for m in model.modules())", "model._forward_hooks"),
        ("an IndexError for an assert", Q2, "IndexError on a defect",
         '    assert len(kept) == 2, "the layer ran twice"\n', "    kept[1]\n"),
        ("wants a graph", Q2, "refuses a right version", "    recorder.close()",
         "    assert kept[0].requires_grad\n    recorder.close()"),
        ("wants a name of the class's own", Q2, "refuses a right version", "    recorder.close()",
         "    assert recorder.hooks\n    recorder.close()"),
        ("refuses everything", Q2, "refuses a right version", ALWAYS),
        ("asserts nothing", "a1_q2_seen", "your test lets it pass", CALLS_ONLY),
    ]),
    *slips("q2", "a1_q2_mend", [
        ("mended without a copy", MEND, "rewritten what you keep", "self.found[name].append(output.clone())",
         "self.found[name].append(output)"),
        ("mended by detach", MEND, "copy it in the hook", "self.found[name].append(output.clone())",
         "self.found[name].append(output.detach())"),
        ("mended by detach, visible", MEND_SEEN, "rewritten what you keep", "self.found[name].append(output.clone())",
         "self.found[name].append(output.detach())"),
        ("mended, hands on what it keeps", MEND, "another tensor than the one",
         "self.found[name].append(output.clone())",
         "output = output.clone()\n        self.found[name].append(output)\n        return output"),
        ("mended, the last run only", MEND_SEEN, "the model was called twice",
         "self.found[name].append(output.clone())", "self.found[name] = [output.clone()]"),
        ("mended, the last run only, hidden", MEND, "a layer ran", "self.found[name].append(output.clone())",
         "self.found[name] = [output.clone()]"),
        ("mended, the last handle only", MEND, "a hook is left",
         "        for handle in self.handles:\n            handle.remove()", "        self.handles[-1].remove()"),
        ("mended, close does nothing", MEND_SEEN, "after close() a hook is left", "handle.remove()", "pass"),
        ("mended, clears everybody's hooks", MEND, "a hook that is not yours", "        self.handles = []",
         "        self.model, self.handles = model, []",
         "        for handle in self.handles:\n            handle.remove()",
         "        for layer in self.model.modules():\n            layer._forward_hooks.clear()"),
        ("mended, close forgets", MEND_SEEN, "you have 0 tensor", "            handle.remove()",
         "            handle.remove()\n        self.found = {name: [] for name in self.found}"),
        ("mended, one list for all recorders", MEND, "a layer ran", "self.found = {name: [] for name in names}",
         "Mended.found = self.found = {**getattr(Mended, 'found', {}), **{n: getattr(Mended, 'found', "
         "{}).get(n, []) for n in names}}"),
    ]),
    *slips("q3", "a1_q3", [
        ("max-pool not counted", Q3, "a pooling is not counted", CONV_ONLY),
        ("average pool not counted", Q3, "an average pooling counts", CONV_AND_MAX),
        ("dilation as kernel", Q3, "is not the width of a dilated kernel", "size += (k - 1) * d * jump",
         "size += (k * d - 1) * jump"),
        ("dilation not counted", Q3, "the dilation is not counted", "size += (k - 1) * d * jump",
         "size += (k - 1) * jump"),
        ("jump first", Q3, "multiply the jump last", "size += (k - 1) * d * jump",
         "jump *= s\n            size += (k - 1) * d * jump", "            start -= p * jump\n            jump *= s\n",
         "            start -= p * jump\n"),
        ("padding in pixels", Q3, "falls by p * jump", "start -= p * jump", "start -= p"),
        ("padding dilated", Q3, "the dilation does not widen", "start -= p * jump", "start -= p * d * jump"),
        ("the first branch", BRANCH, "only the first branch counts",
         "            start = min(first for _, _, first in fields)\n"
         "            size = max(first + wide for wide, _, first in fields) - start\n"
         "            jump = fields[0][1]\n", "            size, jump, start = fields[0]\n"),
        ("the last branch", BRANCH, "only the last branch",
         "            start = min(first for _, _, first in fields)\n"
         "            size = max(first + wide for wide, _, first in fields) - start\n"
         "            jump = fields[0][1]\n", "            size, jump, start = fields[-1]\n"),
        ("the widest branch", BRANCH, "both edges count", "            start = min(first for _, _, first in fields)\n"
         "            size = max(first + wide for wide, _, first in fields) - start\n"
         "            jump = fields[0][1]\n", "            size, jump, start = max(fields)\n"),
        ("a branch starts anew", BRANCH, "a branch begins anew", "sees(branch, size, jump, start)", "sees(branch)"),
        ("branches in a row", BRANCH, "not in a row",
         "            fields = [sees(branch, size, jump, start) for branch in layer.branches]\n"
         "            start = min(first for _, _, first in fields)\n"
         "            size = max(first + wide for wide, _, first in fields) - start\n"
         "            jump = fields[0][1]\n", "            for branch in layer.branches:\n"
         "                size, jump, start = sees(branch, size, jump, start)\n"),
        ("branches forgotten", BRANCH, "the branches are not counted", "isinstance(layer, Sum)", "False"),
        ("max-pool not counted, visible", "a1_q3_seen", "should be 5, 2, -1", CONV_ONLY),
    ]),
    *slips("q4", "a1_q4", [
        ("(x, y) for (row, column)", Q4, "(x, y) for (row, column)",
         "crops.append((n, (max(top, 0), max(left, 0), bottom, right)))",
         "crops.append((n, (max(left, 0), max(top, 0), right, bottom)))"),
        ("row and column swapped", Q4, "row and column are swapped", "row, column = divmod", "column, row = divmod"),
        ("divided by the height", Q4, "a flat place is row * width + column", "values.shape[3]", "values.shape[2]"),
        ("two crops from one picture", Q4, "two crops come from one picture", TWO_OF_ONE),
        ("box outside the picture", Q4, "reaches outside",
         "crops.append((n, (max(top, 0), max(left, 0), bottom, right)))",
         "crops.append((n, (top, left, top + size, left + size)))"),
        ("cut at 0 only", Q4, "outside at the bottom or right",
         "crops.append((n, (max(top, 0), max(left, 0), bottom, right)))",
         "crops.append((n, (max(top, 0), max(left, 0), top + size, left + size)))"),
        ("moved, not cut", Q4, "is moved into the picture",
         "bottom, right = min(top + size, shape[0]), min(left + size, shape[1])",
         "top, left = min(max(top, 0), shape[0] - size), min(max(left, 0), shape[1] - size)\n"
         "        bottom, right = top + size, left + size"),
        ("last pixel included", Q4, "are excluded", "crops.append((n, (max(top, 0), max(left, 0), bottom, right)))",
         "crops.append((n, (max(top, 0), max(left, 0), bottom - 1, right - 1)))"),
        ("start as the middle", Q4, "not its middle", "size, jump, start = field",
         "size, jump, start = field\n    start -= size // 2"),
        ("weakest first", Q4, "the weakest come first", "descending=True", "descending=False"),
        ("magnitudes", Q4, "keep the sign", "strongest, places = values[:, channel].flatten(1).max(1)",
         "strongest, places = values[:, channel].abs().flatten(1).max(1)"),
        ("all channels", Q4, "all channels", "strongest, places = values[:, channel].flatten(1).max(1)",
         "strongest, places = values.amax(1).flatten(1).max(1)"),
        ("height and width swapped", Q4, "height and width of the picture", "shape[0])", "shape[1])",
         "min(left + size, shape[1])", "min(left + size, shape[0])"),
        ("of equal ones the last", Q4, "of equal pictures the lower number",
         "strongest.argsort(descending=True, stable=True)",
         "strongest.flip(0).argsort(descending=True, stable=True).mul(-1).add(len(strongest) - 1)"),
    ]),
    *slips("q5", "a1_q5", [
        ("MaxUnpool2d", Q5, "where windows share a winner", TORCH_UNPOOL),
        ("written, not added", Q5, "where windows share a winner", MAX_UNPOOL),
        ("written, not added, visible", "a1_q5_seen", "won two windows", MAX_UNPOOL),
        ("lesson 04's answer as it stands", Q5, "count its axes from the end", OF_LESSON_04),
        ("float32 zeros", Q5, "dtype=y.dtype", ", dtype=y.dtype", "", "y.flatten(-2)", "y.float().flatten(-2)"),
        ("vh.unpool", Q5, "without `vh.`", "def unpool(y, switches, size):\n    return vh.unpool(y, switches, size)\n"),
        ("the step writes, not adds", STEP, "one value overwrites the other", MAX_UNPOOL),
    ]),
    *slips("q5", "a1_q5_step", [
        ("bias added", STEP, "leave it out",
         "return F.conv_transpose2d(signal, conv.weight, None, conv.stride, conv.padding, rest)",
         "return F.conv_transpose2d(signal, conv.weight, conv.bias, conv.stride, conv.padding, rest)"),
        ("ReLU by the forward mask", STEP, "as in the gradient",
         "signal = unpool(signal, switches, maps.shape[-2:]).relu()",
         "signal = unpool(signal, switches, maps.shape[-2:]) * (maps > 0)"),
        ("both gates", STEP, "as in guided backprop", "signal = unpool(signal, switches, maps.shape[-2:]).relu()",
         "signal = unpool(signal, switches, maps.shape[-2:]).relu() * (maps > 0)"),
        ("no ReLU", STEP, "the ReLU on the signal is missing",
         "signal = unpool(signal, switches, maps.shape[-2:]).relu()",
         "signal = unpool(signal, switches, maps.shape[-2:])"),
        ("ReLU at the end", STEP, "not behind them", "signal = unpool(signal, switches, maps.shape[-2:]).relu()",
         "signal = unpool(signal, switches, maps.shape[-2:])",
         "return F.conv_transpose2d(signal, conv.weight, None, conv.stride, conv.padding, rest)",
         "return F.conv_transpose2d(signal, conv.weight, None, conv.stride, conv.padding, rest).relu()"),
        ("switches before the ReLU", STEP, "pool what the ReLU puts out", "maps = conv(x).relu()", "maps = conv(x)"),
        ("no output_padding", STEP, "give `output_padding`",
         "return F.conv_transpose2d(signal, conv.weight, None, conv.stride, conv.padding, rest)", "return small"),
        ("flipped filters", STEP, "do not flip the filters",
         "return F.conv_transpose2d(signal, conv.weight, None, conv.stride, conv.padding, rest)",
         "return F.conv_transpose2d(signal, conv.weight.flip(2, 3), None, conv.stride, conv.padding, rest)"),
        ("stride forgotten", STEP, "should have the shape",
         "small = F.conv_transpose2d(signal, conv.weight, None, conv.stride, conv.padding)\n"
         "    rest = [x.shape[i] - small.shape[i] for i in (2, 3)]\n" "    ", "",
         "return F.conv_transpose2d(signal, conv.weight, None, conv.stride, conv.padding, rest)",
         "return F.conv_transpose2d(signal, conv.weight)"),
    ]),
    *slips("q6", "a1_q6", [
        ("absolute error", Q6, "divide by the mean response", " / before.mean()) if", ") if"),
        ("one phase only", Q6, "one phase only", "torch.arange(16, dtype=torch.float64)",
         "torch.arange(1, dtype=torch.float64)"),
        ("mean over the phases", Q6, "take the largest", "(after - before).abs().max() / before.mean()",
         "(after - before).abs().mean() / before.mean()"),
        ("signed mean", Q6, "take the positive part of every unit", ".relu().mean(1)", ".mean(1)"),
        ("mean before the ReLU", Q6, "the positive part comes before the mean", ".relu().mean(1)", ".mean(1).relu()"),
        ("strongest unit", Q6, "this is the strongest unit", ".relu().mean(1)", ".relu().amax(1)"),
        ("moved by a stride", Q6, "not by a stride", "response(1)", "response(stride)"),
        ("no 2 pi", Q6, "multiply by 2 pi", "2 * torch.pi * frequency", "frequency"),
        ("grating around 0", Q6, "lies in 0..1", "0.5 + 0.5 * torch.cos", "0.5 * torch.cos"),
        ("unit by unit", Q6, "unit by unit", ".relu().mean(1)", ".relu()", "(after - before).abs().max()",
         "(after - before).abs().mean(1).max()"),
        ("0 / 0", Q6, "a filter of zeros never answers", " if before.mean() > 0 else 0.0", ""),
        ("the first that fails", Q6, "is the first stride that fails",
         "max(s for s in (1, 2, 4) if shift_error(weight, s, frequency) < 0.1)",
         "min([s for s in (1, 2, 4) if shift_error(weight, s, frequency) >= 0.1], default=4)"),
        ("the smallest", Q6, "the largest stride is", "return max(s", "return min(s"),
    ]),
]  # fmt: skip
