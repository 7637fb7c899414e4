"""Lesson 03: features by structure, layouts against hand-made cases and oracles, shards as real processes, explorer."""
import json
import os
import signal
import subprocess
import sys
import time

import ipywidgets as W
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from methods import net_of, pictures
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from torch import nn

import vizhelpers as vh
from vizhelpers import embedding_shards
from vizhelpers.picture_map import framed


def tiny():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 5, stride=4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(24, 4)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def collection():
    return vh.embed(tiny(), vh.library("paintings") + vh.library("photos", "animals") + vh.library("objects", "balls"))


# --- which features ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, behind, layer", [
    ("alexnet", lambda net, x: net.classifier[:6](net.avgpool(net.features(x)).flatten(1)), "classifier.6"),
    ("squeezenet1_1", lambda net, x: net.features(x).mean((2, 3)), "classifier.1"),
    ("densenet121", lambda net, x: net.features(x).relu().mean((2, 3)), "classifier"),
    ("mobilenet_v3_large", lambda net, x: net.classifier[:3](net.avgpool(net.features(x)).flatten(1)), "classifier.3"),
])  # fmt: skip
def test_features_are_the_input_of_the_classifier(name, behind, layer):
    net, x = net_of(name), pictures()
    where, found = vh.feature_layer(net), vh.features(net, x)
    assert where[:2] == (layer, "input") and f"({found.shape[1]} numbers" in where.label
    torch.testing.assert_close(found, behind(net, x))


@pytest.mark.parametrize("name, size, words", [
    ("alexnet", 4096, "fc7"), ("vgg16", 4096, "fc7"), ("resnet50", 2048, "input of fc"), ("densenet121", 1024, "input"),
    ("efficientnet_b0", 1280, "input of classifier.1"),
])  # fmt: skip
def test_whole_nets_have_the_sizes_of_the_papers(name, size, words):
    import torchvision  # after vizhelpers

    with torch.device("meta"):  # the architecture without its numbers
        net = torchvision.models.get_model(name, weights=None)
    where = vh.feature_layer(net)
    assert words in where.label and f"({size} numbers)" in where.label
    assert vh.features(net.eval(), torch.empty(1, 3, 224, 224, device="meta")).shape == (1, size)


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_the_last_linear_layer_makes_the_logits_of_the_features(name):
    net, x = net_of(name), pictures()
    f = vh.features(net, x)
    torch.testing.assert_close(net.fc(f), vh.class_scores(net, x))


def test_fc7_is_behind_its_relu_and_without_dropout():
    net, x = net_of("alexnet"), pictures()
    f = vh.features(net, x)
    assert vh.feature_layer(net).name == "classifier.6"
    assert f.min() == 0 and (f == 0).double().mean() > 0.2  # before the ReLU nothing would be exactly 0
    net.train()
    torch.testing.assert_close(vh.features(net, x), f)
    assert net.training
    net.eval()


def test_convolutions_only_are_pooled_and_said_so():
    net = vh.load_model("alexnet", device="cpu")
    x = torch.randn(2, 3, 80, 96, generator=torch.Generator().manual_seed(0))
    assert "no classifier" in vh.feature_layer(net).label and "fc7" not in vh.feature_layer(net).label
    torch.testing.assert_close(vh.features(net, x), net(x).mean((2, 3)))


def test_a_backbone_without_its_head_gives_its_own_output():
    net = vh.load_model("resnet18", weights="random", device="cpu")
    net.fc, x = nn.Identity(), torch.randn(2, 3, 64, 64)
    assert vh.feature_layer(net).name == ""
    torch.testing.assert_close(vh.features(net, x), net(x))
    with pytest.raises(ValueError, match="name a layer"):
        vh.feature_layer(nn.Sequential(nn.Flatten()))


def test_a_layer_by_name_is_pooled_and_strange_ones_are_refused():
    net, x = net_of("resnet18"), pictures()
    torch.testing.assert_close(vh.features(net, x, layer="layer2"), vh.activations(net, x, "layer2").mean((2, 3)))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.ReLU())
    with pytest.raises(ValueError, match=r"\(1, 4, 36\).*layer="):
        vh.features(net, torch.zeros(1, 3, 8, 8), layer="1")

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(12, 12)

        def forward(self, x):
            return self.fc(self.fc(x.flatten(1)))

    with pytest.raises(ValueError, match="ran 2 times"):
        vh.features(Twice(), torch.zeros(1, 3, 2, 2))


def test_lists_of_pictures_stream_and_equal_the_batch():
    net, names = tiny(), ["koala", "coffee", "cat"]
    assert torch.allclose(vh.features(net, names, batch_size=2), vh.features(net, vh.to_input(names, net)), atol=1e-6)


def test_pixels_are_the_small_picture():
    p = vh.pixels(["koala"], side=16)
    assert p.shape == (1, 768) and 0 <= p.min() and p.max() <= 1
    assert torch.equal(p.view(1, 3, 16, 16), vh.to_display(vh.to_input("koala", size=16)))
    with pytest.raises(ValueError, match="empty"):
        vh.pixels([])


# --- t-SNE ------------------------------------------------------------------------------------------------------------
def clusters(count=20, groups=3):
    g = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(count, 60, generator=g) + 12 * torch.randn(60, generator=g) for _ in range(groups)])


def test_tsne_keeps_clusters_apart_and_repeats():
    f = clusters()
    points = vh.tsne(f, perplexity=8)
    assert points.shape == (60, 2) and points.dtype == torch.float32
    assert torch.equal(points, vh.tsne(f, perplexity=8)) and torch.equal(points, vh.tsne(f.double(), perplexity=8))
    labels = [n // 20 for n in range(60)]
    assert vh.knn_agreement(points, labels, k=10, metric="euclidean") == 1
    assert vh.trustworthiness(f, points, metric="euclidean") > 0.8


def test_tsne_is_scikit_learn_s_after_pca():
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    f = clusters(15)
    z = PCA(45, svd_solver="full").fit_transform(f.numpy())
    want = TSNE(perplexity=5, init="pca", learning_rate="auto", random_state=3).fit_transform(z)
    assert np.allclose(vh.tsne(f, perplexity=5, seed=3).numpy(), want)


@pytest.mark.parametrize("perplexity", [0.5, 21, 30, float("nan")])
def test_tsne_says_which_perplexity_fits(perplexity):
    with pytest.raises(ValueError, match="from 1 to a third of the pictures, here 20"):
        vh.tsne(clusters(), perplexity=perplexity)


def test_tsne_refuses_what_has_no_layout():
    with pytest.raises(ValueError, match="equal"):
        vh.tsne(torch.ones(60, 4), perplexity=5)
    with pytest.raises(ValueError, match="NaN"):
        vh.tsne(torch.full((60, 4), float("nan")), perplexity=5)
    with pytest.raises(ValueError, match=r"\(N,D\)"):
        vh.tsne(torch.ones(60), perplexity=5)
    assert vh.tsne(torch.arange(12.0)[:, None], perplexity=3).isfinite().all()  # one feature is enough


def test_the_bell_curves_hold_as_many_neighbours_as_the_perplexity():
    """What the lesson says perplexity is: 2 to the entropy of each point's neighbour probabilities."""
    from sklearn.manifold._utils import _binary_search_perplexity

    d = torch.cdist(clusters(10), clusters(10)).square().numpy().astype(np.float32)
    p = _binary_search_perplexity(d, 7.0, 0)
    assert np.allclose([2 ** entropy(row[row > 0], base=2) for row in p], 7, rtol=0.02)


# --- neighbours and numbers -------------------------------------------------------------------------------------------
def test_neighbours_by_hand():
    f = torch.tensor([[1.0, 0], [2, 0], [0, 3], [1, 1], [1, 0], [0, 0]])
    found = vh.neighbours(f, 0, 5)
    assert found.indices.tolist() == [1, 4, 3, 2, 5]  # row 4 is a copy and stays; of equals the first
    assert found.distances.tolist() == pytest.approx([0, 0, 1 - 0.5**0.5, 1, 1], abs=1e-6)
    near = vh.neighbours(f, 0, 5, metric="euclidean")
    assert near.indices.tolist() == [4, 1, 3, 5, 2] and near.distances[-1] == pytest.approx(10**0.5)
    every = vh.neighbours(f, k=2)
    assert every.indices.shape == (6, 2) and every.indices[0].tolist() == [1, 4]
    assert all(n not in every.indices[n] for n in range(6)) and every.distances.isfinite().all()
    for wrong, words in (({"k": 6}, "1 to 5"), ({"picture": 9}, "0 to 5"), ({"metric": "l2"}, "cosine")):
        with pytest.raises(ValueError, match=words):
            vh.neighbours(f, **{"k": 2} | wrong)


def test_agreement_by_hand():
    f = torch.tensor([[0.0], [1], [10], [11.5]])
    assert vh.knn_agreement(f, ["a", "a", "b", "b"], k=1, metric="euclidean") == 1
    assert vh.knn_agreement(f, ["a", "b", "a", "b"], k=1, metric="euclidean") == 0
    assert vh.knn_agreement(f, [1, 1, 1, 2], k=3, metric="euclidean") == pytest.approx((2 / 3 * 3) / 4)
    with pytest.raises(ValueError, match="3 labels for 4"):
        vh.knn_agreement(f, [1, 2, 3])


def test_trustworthiness_by_its_formula():
    f, points, n, k = torch.randn(25, 4), torch.randn(25, 2), 25, 3
    penalty = 0
    for i in range(n):
        by_f = sorted(range(n), key=lambda j: -1 if j == i else float((f[i] - f[j]).norm()))
        on_map = sorted(range(n), key=lambda j: -1 if j == i else float((points[i] - points[j]).norm()))
        penalty += sum(max(0, by_f.index(j) - k) for j in on_map[1 : k + 1])
    want = 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty
    assert vh.trustworthiness(f, points, k, metric="euclidean") == pytest.approx(want)
    assert vh.trustworthiness(points, points, k, metric="euclidean") == 1
    with pytest.raises(ValueError, match="25 with 24"):
        vh.trustworthiness(f, points[1:])


# --- grid -------------------------------------------------------------------------------------------------------------
def test_grid_by_hand_keeps_sides_and_leaves_gaps_at_the_end():
    corners = torch.tensor([[0.0, 0], [5, 0], [0, 9], [5, 9]])
    assert vh.grid(corners).tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]  # y up: the largest is in the top row
    points = torch.randn(23, 2, generator=torch.Generator().manual_seed(1))
    for shape in (None, (4, 7), (23, 1), (5, 5)):
        cells = [tuple(cell) for cell in vh.grid(points, shape).tolist()]
        columns = shape[1] if shape else 5
        assert sorted(cells) == [divmod(n, columns) for n in range(23)]
    with pytest.raises(ValueError, match="too few"):
        vh.grid(points, (4, 5))


def test_grid_is_the_best_assignment():
    points = torch.rand(6, 2, generator=torch.Generator().manual_seed(2))
    cells = vh.grid(points, (2, 3)).numpy()
    unit = (points - points.amin(0)) / (points.amax(0) - points.amin(0)) * torch.tensor([2.0, 1.0])

    def cost(order):
        return sum(float((unit[n] - torch.tensor([c, 1 - r])).square().sum()) for n, (r, c) in enumerate(order))

    import itertools

    every = [divmod(n, 3) for n in range(6)]
    assert cost(cells.tolist()) == pytest.approx(min(map(cost, itertools.permutations(every))))
    assert len(linear_sum_assignment(np.eye(2))) == 2


# --- collections ------------------------------------------------------------------------------------------------------
def test_embed_keeps_everything_in_step(collection):
    net, e = tiny(), collection
    assert len(e) == 37 and set(e.groups) == {"paintings", "animals", "balls"}
    n = e.names.index("photos/animals/koala")
    x = vh.to_input("photos/animals/koala", net)
    torch.testing.assert_close(e.features[n : n + 1], vh.features(net, x), rtol=1e-4, atol=1e-5)
    assert torch.equal(e.pixels[n : n + 1], vh.pixels(["photos/animals/koala"]))
    assert e.thumbs.shape == (37, 3, 64, 64) and e.label == vh.feature_layer(net).label
    with pytest.raises(ValueError, match="2 pictures, 1 names"):
        vh.embed(net, ["koala", "cat"], names=["koala"])


@pytest.fixture
def folder(tmp_path):
    for n in range(9):
        path = tmp_path / "in" / ("ab"[n % 2]) / f"p{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40 + n), (20 * n, 200 - 20 * n, 90)).save(path)
    (tmp_path / "in" / "a" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_text("no picture either")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    return tmp_path / "in"


def test_embed_folder_names_what_it_cannot_read(folder):
    with pytest.warns(UserWarning, match="a/broken.jpg is left out"):
        e = vh.embed_folder(folder, tiny())
    assert len(e) == 9 and set(e.groups) == {"a", "b"} and list(e.unreadable) == ["a/broken.jpg"]
    assert e.names[0] == "a/p0.png"
    (folder / "only").mkdir()
    with pytest.raises(ValueError, match="no picture file"):
        vh.embed_folder(folder / "only", tiny())
    with pytest.raises(FileNotFoundError, match="no folder"):
        vh.embed_folder(folder / "nowhere", tiny())
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="None of the 1"):
        vh.embed(tiny(), [folder / "a" / "broken.jpg"])


# --- shards: the real command -----------------------------------------------------------------------------------------
def command(folder, out, *more):
    fixed = ["--workers", "0", "--batch-size", "2", "--shard-size", "3"]
    return [sys.executable, "-m", "vizhelpers.embedding", str(folder), "--out", str(out), *fixed, *more]


def environment(**more):
    return os.environ | {"OMP_NUM_THREADS": "1", "VIZHELPERS_DEVICE": "cpu"} | more


def test_two_ranks_each_do_their_part_and_a_rerun_goes_on(folder, tmp_path, capsys):
    out, names = tmp_path / "out", sorted(f"{'ab'[n % 2]}/p{n}.png" for n in range(9))
    ranks = [subprocess.Popen(command(folder, out, "--workers", "1"), text=True, stdout=subprocess.PIPE,
                              env=environment(RANK=str(r), LOCAL_RANK=str(r), WORLD_SIZE="2"), stderr=subprocess.STDOUT)
             for r in (0, 1)]  # fmt: skip
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert "[0/2]" in said[0] and "[1/2]" in said[1] and not any("Warning" in text for text in said)
    found, f = vh.read_shards(out)
    assert found == names and f.shape == (9, 512) and f.dtype == torch.float32
    net = vh.load_model("squeezenet1_1", device="cpu")
    torch.testing.assert_close(f, vh.features(net, [folder / name for name in names]), rtol=1e-3, atol=1e-3)
    assert list(embedding_shards.unreadable(out)) == ["a/broken.jpg"]
    each = [json.loads(embedding_shards.safe_open(p, "pt").metadata()["vizhelpers"])["names"] for p in out.iterdir()]
    assert sum(len(part) for part in each) == 9 and len(each) >= 3  # nothing twice, shards of about three

    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    Image.new("RGB", (50, 50), "red").save(folder / "late.png")
    assert embedding_shards.main(command(folder, out)[3:]) == 0
    assert "1 pictures to do, 10 done before" in capsys.readouterr().out
    assert vh.read_shards(out).names == sorted([*names, "late.png"])
    assert {name: p for name, p in before.items()} == {n: (out / n).stat().st_mtime_ns for n in before}
    assert not list(out.glob(".half*"))


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(folder, tmp_path):
    for n in range(150):
        os.link(folder / "a" / "p0.png", folder / "a" / f"q{n:03d}.png")
    out = tmp_path / "out"
    process = subprocess.Popen(command(folder, out, "--workers", "1"), env=environment(), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    for _ in range(2400):  # a machine with much to do starts slowly
        if list(out.glob("shard-*")) or process.poll() is not None:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the loader's processes, too
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again" in complaint, (said, complaint)
    done = vh.read_shards(out).names
    assert 0 < len(done) < 159 and not list(out.glob(".half*")) and "Traceback" not in complaint
    for n in range(40, 150):  # enough is shown with fewer
        (folder / "a" / f"q{n:03d}.png").unlink()
    assert embedding_shards.main(command(folder, out)[3:]) == 0
    assert set(vh.read_shards(out).names) >= {f"a/q{n:03d}.png" for n in range(40)} | set(done)


def test_other_features_do_not_get_into_the_same_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert embedding_shards.main(command(folder, out)[3:]) == 0
    assert embedding_shards.main(command(folder, out, "--layer", "features.12")[3:]) == 1
    assert "choose another --out" in capsys.readouterr().err
    assert embedding_shards.main(command(folder / "nowhere", out)[3:]) == 1
    assert "no folder" in capsys.readouterr().err
    path = sorted(out.glob("shard-*"))[0]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="delete it"):
        vh.read_shards(out)
    with pytest.raises(FileNotFoundError, match="No finished shard"):
        vh.read_shards(tmp_path)


# --- pictures and figures ---------------------------------------------------------------------------------------------
def test_thumbnails_lie_at_their_points():
    thumbs = torch.stack([torch.full((3, 8, 8), v) for v in (0.0, 0.5)])
    sheet = vh.thumbnail_map(torch.tensor([[0.0, 0], [1, 1]]), thumbs, size=100, side=10)
    (x0, y0), (x1, y1) = vh.place(torch.tensor([[0.0, 0], [1, 1]]), 100, 7)
    assert sheet.shape == (100, 100, 3) and x0 < x1 and y0 > y1
    assert (sheet[y0, x0] == 0).all() and (sheet[y1, x1] == 128).all() and (sheet[50, 50] == 255).all()
    both = vh.grid_picture([[0, 1], [1, 0]], thumbs, side=8)
    assert both.shape == (18, 18, 3) and both[2, 12, 0] == 0 and both[12, 2, 0] == 128 and both[2, 2, 0] == 255
    ring = framed(np.zeros((20, 20, 3), np.uint8), (10, 10), 3, "#ff0000", 2)
    assert (ring[10, 5] == [255, 0, 0]).all() and not ring[10, 10].any()
    dots = vh.dot_map([[0, 0], [1, 1]], ["a", "b"], size=60)
    assert {tuple(p) for p in dots.reshape(-1, 3).tolist()} >= {(31, 119, 180), (255, 127, 14)}
    for call in (vh.thumbnail_map, vh.grid_picture):
        with pytest.raises(ValueError, match="1 .* for 2 pictures"):
            call([[0, 0]], thumbs)


def test_figures(collection):
    points = torch.randn(37, 2)
    ax = vh.show_points(points, collection.groups, title="t")
    assert len(ax.collections) == 3 and "animals (24)" in [t.get_text() for t in ax.get_legend().get_texts()]
    assert sum(len(c.get_offsets()) for c in ax.collections) == 37
    assert vh.show_thumbnails(points, collection.thumbs).images[0].get_array().shape == (1000, 1000, 3)
    assert len(vh.show_grid(points, collection.thumbs, shape=(4, 10)).images) == 1
    with pytest.raises(ValueError, match="one group for each"):
        vh.show_points(points, ["a"])
    assert len(set(vh.group_colours(map(str, range(40))).values())) == 40
    import matplotlib.pyplot as plt

    plt.close("all")


# --- explorer ---------------------------------------------------------------------------------------------------------
def controls(widget) -> dict:
    found = {widget.description: widget} if hasattr(widget, "description") and hasattr(widget, "value") else {}
    for child in getattr(widget, "children", ()):
        found |= controls(child)
    return found


def test_every_picture_every_map_and_every_view(collection):
    e = collection
    maps = {p: torch.randn(37, 2, generator=torch.Generator().manual_seed(p)) for p in (5, 12)}
    explorer = vh.explore_embedding(e, maps=maps, size=200, k=4)
    parts, shown = controls(explorer), set()
    assert parts["perplexity"].value == 12 and parts["picture"].max == 36
    for n in range(37):
        parts["picture"].value = n
        r = explorer.result
        assert (r.picture, r.name) == (n, e.names[n]) and e.names[n] in explorer.text.value
        assert r.by_features == vh.neighbours(e.features, n, 4).indices.tolist()
        assert r.by_pixels == vh.neighbours(e.pixels, n, 4, metric="euclidean").indices.tolist()
        shown.add(explorer.images[0].value)
    assert len(shown) == 37
    for view in ("points", "grid", "thumbnails"):
        parts["view"].value = view
        for p in (5, 12):
            parts["perplexity"].value = p
            assert explorer.result[:2] == (p, view) and explorer.result.points is maps[p]
            shown.add(explorer.images[0].value)
    assert len(shown) == 37 + 5 and e.label in explorer.text.value


def test_groups_and_search_lead_to_the_picture(collection):
    e = collection
    explorer = vh.explore_embedding(e, maps={9: torch.randn(37, 2)}, size=200)
    parts = controls(explorer)
    for label, group in parts["group"].options:
        parts["group"].value = group
        want = [n for n in range(37) if group in ("all groups", e.groups[n])]
        assert label == f"{group} ({len(want)})" and parts["picture"].max == len(want) - 1
        for at in (len(want) - 1, 0):
            parts["picture"].value = at
            assert explorer.result.picture == want[at]
    parts["group"].value = "balls"
    parts["search"].value = "Koala"
    assert explorer.result.name == "photos/animals/koala" and parts["group"].value == "all groups"
    with pytest.raises(ValueError, match="nearest: koala"):
        parts["search"].value = "koalla"
    assert "koalla" in explorer.text.value and explorer.result.name == "photos/animals/koala"
    buttons = [w for box in explorer.children for w in getattr(box, "children", ()) if isinstance(w, W.Button)]
    before = explorer.result.picture
    buttons[-1].click()
    assert explorer.result.picture == before + 1 and explorer.still()[:4] == b"\x89PNG"


def test_maps_are_made_for_perplexities_that_fit(collection):
    explorer = vh.explore_embedding(collection, perplexities=(5, 30), size=200, progress=False)
    assert [p for _, p in controls(explorer)["perplexity"].options] == [5]
    want = vh.tsne(F.normalize(collection.features), perplexity=5)
    assert torch.equal(explorer.result.points, want)


# --- exercises --------------------------------------------------------------------------------------------------------
def my_features(model, x, *, pick=-1, out=False, evaluate=True, leave=False, end=True):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    kept = []
    if out:
        handle = layers[pick].register_forward_hook(lambda module, args, result: kept.append(result))
    else:
        handle = layers[pick].register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    was = model.training
    if evaluate:
        model.eval()
    model(x)
    if end:
        model.train(was)
    if not leave:
        handle.remove()
    return kept[0]


def test_penultimate_right():
    vh.check_penultimate(my_features)
    vh.check_penultimate(vh.features)


@pytest.mark.parametrize("change, says", [
    ({"out": True}, "class scores"), ({"out": True, "pick": 0}, "before the ReLU"), ({"pick": 0}, "shape"),
    ({"evaluate": False}, "dropout is active"), ({"leave": True}, "hook is still there"),
    ({"end": False}, "train mode"),
])  # fmt: skip
def test_penultimate_wrong(change, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_penultimate(lambda model, x: my_features(model, x, **change))


def nearest(f, i, k, *, unit=True, skip="number", largest=True):
    u = F.normalize(f) if unit else f
    cosine = u @ u[i]
    if skip == "number":
        cosine[i] = -float("inf") if largest else float("inf")
    order = cosine.argsort(descending=largest)
    return order[1 : k + 1] if skip == "first" else order[:k]


def test_nearest_right():
    vh.check_nearest(nearest)
    vh.check_nearest(lambda f, i, k: vh.neighbours(f, i, k).indices)
    vh.check_nearest(lambda f, i, k: nearest(f, i, k).tolist())


@pytest.mark.parametrize("answer, says", [
    (lambda f, i, k: nearest(f, i, k, unit=False), "scalar product"),
    (lambda f, i, k: nearest(f, i, k, skip=""), "itself"),
    (lambda f, i, k: nearest(f, i, k, largest=False), "farthest"),
    (lambda f, i, k: vh.neighbours(f, i, k, metric="euclidean").indices, "Euclidean"),
    (lambda f, i, k: nearest(f, i, k).flip(0), "another order"),
    (lambda f, i, k: nearest(f, i, k + 1), "k = 5"),
    (lambda f, i, k: nearest(f, i, k + 1)[1:] if i == 3 else nearest(f, i, k), "second copy"),
])  # fmt: skip
def test_nearest_wrong(answer, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_nearest(answer)


def trust(f, points, k, *, minus=True, swap=False, scale=True, one=True, first=1):
    n = len(f)
    high, low = (torch.cdist(a, a).fill_diagonal_(-1).argsort(1).argsort(1) for a in (f, points))
    high, low = (low, high) if swap else (high, low)
    near = (low >= 1) & (low <= k)
    ranks = high[near] - 1 + first
    penalty = float((ranks - k).clamp(min=0).sum() if minus else ranks.sum())
    penalty *= 2 / (n * k * (2 * n - 3 * k - 1)) if scale else 1
    return 1 - penalty if one else penalty


def test_trustworthiness_exercise_right():
    vh.check_trustworthiness(trust)
    vh.check_trustworthiness(lambda f, points, k: vh.trustworthiness(f, points, k, metric="euclidean"))


@pytest.mark.parametrize("change, says", [
    ({"minus": False}, "rank - k"), ({"swap": True}, "swapped"), ({"scale": False}, "not scaled"),
    ({"one": False}, "1 minus it"), ({"first": 0}, "start at 1"),
])  # fmt: skip
def test_trustworthiness_exercise_wrong(change, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_trustworthiness(lambda *args: trust(*args, **change))
